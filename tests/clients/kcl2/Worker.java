// A worker of the Kinesis Client Library 2: it writes down every record, and the beginning and end of shards.
// `java -cp CLASSES:JARS Worker KINESIS DYNAMODB POLLING|FANOUT OUTPUT`; an application of its own name for each mode.
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import software.amazon.awssdk.auth.credentials.EnvironmentVariableCredentialsProvider;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.common.KinesisClientUtil;
import software.amazon.kinesis.common.StreamConfig;
import software.amazon.kinesis.common.StreamIdentifier;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.exceptions.InvalidStateException;
import software.amazon.kinesis.exceptions.ShutdownException;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.RecordProcessorCheckpointer;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.fanout.FanOutConfig;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

public class Worker {
    static final String STREAM = "s";

    public static void main(String[] args) throws Exception {
        var polling = args[2].equals("POLLING");
        var application = "app-" + args[2].toLowerCase();
        var credentials = EnvironmentVariableCredentialsProvider.create();
        var kinesis = KinesisClientUtil.createKinesisAsyncClient(KinesisAsyncClient.builder()
                .endpointOverride(URI.create(args[0])).region(Region.US_EAST_1).credentialsProvider(credentials));
        var dynamodb = DynamoDbAsyncClient.builder().endpointOverride(URI.create(args[1])).region(Region.US_EAST_1)
                .credentialsProvider(credentials).build();
        var cloudwatch = CloudWatchAsyncClient.builder().region(Region.US_EAST_1).credentialsProvider(credentials).build();

        var start = InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON);
        var configs = new ConfigsBuilder(new SingleStreamTracker(STREAM, start), application, kinesis, dynamodb, cloudwatch,
                "worker", () -> new Processor(Path.of(args[3])));
        var retrieval = polling
                ? new PollingConfig(STREAM, kinesis).idleTimeBetweenReadsInMillis(200)
                : new FanOutConfig(kinesis).streamName(STREAM).applicationName(application);
        var scheduler = new Scheduler(
                configs.checkpointConfig(),
                configs.coordinatorConfig().parentShardPollIntervalMillis(500),
                configs.leaseManagementConfig().failoverTimeMillis(2000).shardSyncIntervalMillis(1000),
                configs.lifecycleConfig(),
                configs.metricsConfig().metricsFactory(new NullMetricsFactory()),
                configs.processorConfig(),
                configs.retrievalConfig().retrievalSpecificConfig(retrieval));
        // As a worker that came first would have made the first leases. Where there are none yet, each waits a random time
        // of up to half a minute for another to make them.
        scheduler.leaseCoordinator().initialize();
        var stream = new StreamConfig(StreamIdentifier.singleStreamInstance(STREAM), start);
        scheduler.shardSyncTaskManagerProvider().apply(stream).callShardSyncTask();
        scheduler.run();
    }

    static class Processor implements ShardRecordProcessor {
        final Path output;
        String shard;

        Processor(Path output) {
            this.output = output;
        }

        public void initialize(InitializationInput told) {
            shard = told.shardId();
            write("{\"began\": \"%s\"}", shard);
        }

        public void processRecords(ProcessRecordsInput told) {
            for (var record : told.records()) {
                var data = StandardCharsets.UTF_8.decode(record.data());
                write("{\"shard\": \"%s\", \"key\": \"%s\", \"data\": \"%s\"}", shard, record.partitionKey(), data);
            }
            checkpoint(told.checkpointer());
        }

        public void leaseLost(LeaseLostInput told) {
            write("{\"lost\": \"%s\"}", shard);
        }

        public void shardEnded(ShardEndedInput told) {
            write("{\"ended\": \"%s\"}", shard);
            checkpoint(told.checkpointer());
        }

        public void shutdownRequested(ShutdownRequestedInput told) {
            checkpoint(told.checkpointer());
        }

        void checkpoint(RecordProcessorCheckpointer checkpointer) {
            try {
                checkpointer.checkpoint();
            } catch (InvalidStateException | ShutdownException error) {
                throw new IllegalStateException(error);
            }
        }

        // One write call a line, so that the lines of several shards do not mix.
        void write(String line, Object... values) {
            try {
                var bytes = (String.format(line, values) + "\n").getBytes(StandardCharsets.UTF_8);
                Files.write(output, bytes, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
            } catch (java.io.IOException error) {
                throw new java.io.UncheckedIOException(error);
            }
        }
    }
}
