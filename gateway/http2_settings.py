"""What an HTTP/2 peer is told first: how many streams it may open, and how much it may send unasked."""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event
from h2.settings import SettingCodes, Settings
from hyperframe.frame import Frame, GoAwayFrame

from gateway.limits import CONNECTION_WINDOW_SIZE, HEAD_SIZE_MAX, STREAMS_MAX, WINDOW_SIZE

_CONFIGURATION = H2Configuration(client_side=False)


class _Connection(H2Connection):
    """GOAWAY says that the peer begins no more, and waits for what it has begun (RFC 9113, 6.8); h2 would send nothing
    after it. The JavaScript SDK sends one as soon as an event stream has begun."""

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        event = ConnectionTerminated()
        known = frame.error_code in ErrorCodes.__members__.values()
        event.error_code = ErrorCodes(frame.error_code) if known else frame.error_code
        event.last_stream_id = frame.last_stream_id
        event.additional_data = frame.additional_data or None
        return [], [event]


def h2_connection() -> H2Connection:
    """The server's side of a new connection; its preface is ready to be sent."""
    h2 = _Connection(_CONFIGURATION)
    # Settings that are changed later wait for the peer to acknowledge them.
    h2.local_settings = Settings(
        client=False,
        initial_values={
            SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS_MAX,
            SettingCodes.INITIAL_WINDOW_SIZE: WINDOW_SIZE,
            SettingCodes.MAX_HEADER_LIST_SIZE: HEAD_SIZE_MAX,
        },
    )
    h2.decoder.max_header_list_size = HEAD_SIZE_MAX
    h2.initiate_connection()
    h2.increment_flow_control_window(CONNECTION_WINDOW_SIZE - h2.inbound_flow_control_window)
    return h2
