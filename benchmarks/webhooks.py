"""Webhook deliveries of GitHub: `push` and `pull_request` events in the shape, and with the names, of its documentation."""

from __future__ import annotations

import random
from typing import Any

import msgspec

COLUMNS = {
    "ref": "string",
    "action": "string",
    "number": "int",
    "forced": "boolean",
    "repository": (
        "struct<id:bigint,full_name:string,private:boolean,owner:struct<login:string,id:bigint>,language:string,"
        "topics:array<string>,created_at:timestamp,pushed_at:timestamp>"
    ),
    "pull_request": (
        "struct<id:bigint,title:string,draft:boolean,created_at:timestamp,merged_at:timestamp,additions:int,"
        "labels:array<struct<id:bigint,name:string,default:boolean>>,head:struct<ref:string,sha:string>,"
        "base:struct<ref:string,sha:string>>"
    ),
    "commits": (
        "array<struct<id:string,message:string,timestamp:timestamp,distinct:boolean,"
        "author:struct<name:string,email:string>,added:array<string>,modified:array<string>>>"
    ),
    "sender": "struct<login:string,id:bigint,site_admin:boolean>",
    "custom_properties": "map<string,string>",
}
"""What a table of these events has as columns, in Hive's types."""

_URL = "https://api.github.com"
_WORDS = ("fix", "parser", "update", "README", "the", "tests", "of", "window", "merge", "handle", "null")


def webhooks(count: int, seed: int = 1) -> list[bytes]:
    """JSON records of 2 to 6 KB, half of them of each kind."""
    dice = random.Random(seed)
    return [msgspec.json.encode((_push if n % 2 else _pull_request)(dice, n)) for n in range(count)]


def _user(dice: random.Random) -> dict[str, Any]:
    number = dice.randrange(21_000_000, 21_100_000)
    return {
        "login": "Codertocat",
        "id": number,
        "node_id": "MDQ6VXNlcjIxMDMxMDY3",
        "avatar_url": f"https://avatars1.githubusercontent.com/u/{number}?v=4",
        "gravatar_id": "",
        "url": f"{_URL}/users/Codertocat",
        "followers_url": f"{_URL}/users/Codertocat/followers",
        "repos_url": f"{_URL}/users/Codertocat/repos",
        "events_url": f"{_URL}/users/Codertocat/events{{/privacy}}",
        "type": "User",
        "site_admin": False,
    }


def _repository(dice: random.Random) -> dict[str, Any]:
    return {
        "id": dice.randrange(186_000_000, 187_000_000),
        "node_id": "MDEwOlJlcG9zaXRvcnkxODY4NTMwMDI=",
        "name": "Hello-World",
        "full_name": "Codertocat/Hello-World",
        "private": dice.random() < 0.1,
        "owner": _user(dice),
        "html_url": "https://github.com/Codertocat/Hello-World",
        "description": None,
        "fork": False,
        "url": f"{_URL}/repos/Codertocat/Hello-World",
        "keys_url": f"{_URL}/repos/Codertocat/Hello-World/keys{{/key_id}}",
        "created_at": "2019-05-15T15:19:25Z",
        "updated_at": "2019-05-15T15:21:03Z",
        "pushed_at": f"2019-05-15T15:20:{dice.randrange(60):02d}Z",
        "homepage": None,
        "size": 0,
        "language": dice.choice(["Ruby", "Python", None]),
        "topics": dice.sample(["octocat", "atom", "electron", "api"], dice.randrange(4)),
        "open_issues_count": 2,
        "license": None,
        "default_branch": "master",
    }


def _sha(dice: random.Random) -> str:
    return f"{dice.getrandbits(160):040x}"


def _commit(dice: random.Random) -> dict[str, Any]:
    sha = _sha(dice)
    person = {"name": "Codertocat", "email": "21031067+Codertocat@users.noreply.github.com", "username": "Codertocat"}
    return {
        "id": sha,
        "tree_id": _sha(dice),
        "distinct": dice.random() < 0.9,
        "message": " ".join(dice.choices(_WORDS, k=8)),
        "timestamp": f"2019-05-15T15:20:{dice.randrange(60):02d}Z",
        "url": f"https://github.com/Codertocat/Hello-World/commit/{sha}",
        "author": person,
        "committer": person,
        "added": [f"src/{word}.py" for word in dice.sample(_WORDS, dice.randrange(3))],
        "removed": [],
        "modified": [f"src/{word}.py" for word in dice.sample(_WORDS, dice.randrange(3))],
    }


def _push(dice: random.Random, number: int) -> dict[str, Any]:
    commits = [_commit(dice) for _ in range(dice.randrange(4))]
    return {
        "ref": "refs/heads/master",
        "before": _sha(dice),
        "after": _sha(dice),
        "created": False,
        "deleted": False,
        "forced": dice.random() < 0.1,
        "base_ref": None,
        "commits": commits,
        "head_commit": commits[-1] if commits else None,
        "repository": _repository(dice),
        "pusher": {"name": "Codertocat", "email": "21031067+Codertocat@users.noreply.github.com"},
        "sender": _user(dice),
        "custom_properties": {"team": "docs", "tier": str(number % 3)},
    }


def _pull_request(dice: random.Random, number: int) -> dict[str, Any]:
    label = {"node_id": "MDU6TGFiZWwxMzYyOTM0Mzg5", "color": "d73a4a", "default": True}
    return {
        "action": dice.choice(["opened", "closed", "synchronize"]),
        "number": number,
        "pull_request": {
            "url": f"{_URL}/repos/Codertocat/Hello-World/pulls/{number}",
            "id": 279_147_437 + number,
            "state": "open",
            "locked": False,
            "title": " ".join(dice.choices(_WORDS, k=5)),
            "user": _user(dice),
            "body": "This is a pretty simple change that we need to pull into master.",
            "created_at": "2019-05-15T15:20:33Z",
            "merged_at": dice.choice([None, "2019-05-15T15:21:40Z"]),
            "assignee": None,
            "draft": dice.random() < 0.2,
            "labels": [{"id": 1_362_934_389 + n, "name": f"label-{n}", **label} for n in range(dice.randrange(3))],
            "head": {"label": "Codertocat:changes", "ref": "changes", "sha": _sha(dice)},
            "base": {"label": "Codertocat:master", "ref": "master", "sha": _sha(dice)},
            "additions": dice.randrange(500),
            "deletions": dice.randrange(500),
        },
        "repository": _repository(dice),
        "sender": _user(dice),
    }
