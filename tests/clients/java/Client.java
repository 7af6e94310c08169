// Uses a stream whole through the AWS SDK for Java v2: `java -cp JARS Client.java ENDPOINT async|sync`.
// async is KinesisAsyncClient on netty (HTTP/2, SubscribeToShard), sync is KinesisClient on HTTP/1.1.
// Prints what was got and pushed, one line of JSON.
import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.*;
import software.amazon.awssdk.services.kinesis.model.Record;

public class Client {
    static final String STREAM = "java";

    public static void main(String[] args) throws Exception {
        var credentials = StaticCredentialsProvider.create(AwsBasicCredentials.create("k", "s"));
        var endpoint = URI.create(args[0]);
        if (args[1].equals("sync")) {
            try (var client = KinesisClient.builder().endpointOverride(endpoint).region(Region.US_EAST_1)
                    .credentialsProvider(credentials).build()) {
                sync(client);
            }
        } else {
            try (var client = KinesisAsyncClient.builder().endpointOverride(endpoint).region(Region.US_EAST_1)
                    .credentialsProvider(credentials).build()) {
                async(client);
            }
        }
    }

    static List<PutRecordsRequestEntry> entries() {
        return IntStream.range(0, 20).mapToObj(i -> PutRecordsRequestEntry.builder().partitionKey("k" + i)
                .data(SdkBytes.fromUtf8String("r" + i)).build()).collect(Collectors.toList());
    }

    static String told(List<Record> records) {
        return records.stream().map(r -> '"' + r.data().asUtf8String() + '"').collect(Collectors.joining(", ", "[", "]"));
    }

    static void sync(KinesisClient client) {
        client.createStream(r -> r.streamName(STREAM).shardCount(1));
        client.waiter().waitUntilStreamExists(r -> r.streamName(STREAM));
        client.putRecords(r -> r.streamName(STREAM).records(entries()));
        var shard = client.listShards(r -> r.streamName(STREAM)).shards().get(0).shardId();
        var iterator = client.getShardIterator(r -> r.streamName(STREAM).shardId(shard)
                .shardIteratorType(ShardIteratorType.TRIM_HORIZON)).shardIterator();
        var got = client.getRecords(r -> r.shardIterator(iterator)).records();
        var missing = "";
        try {
            client.describeStream(r -> r.streamName("nothing"));
        } catch (ResourceNotFoundException error) {
            missing = error.awsErrorDetails().errorMessage();
        }
        client.deleteStream(r -> r.streamName(STREAM));
        System.out.println("{\"got\": " + told(got) + ", \"missing\": \"" + missing + "\"}");
    }

    static void async(KinesisAsyncClient client) throws Exception {
        client.createStream(r -> r.streamName(STREAM).shardCount(1)).get();
        client.putRecords(r -> r.streamName(STREAM).records(entries())).get();
        var summary = client.describeStreamSummary(r -> r.streamName(STREAM)).get().streamDescriptionSummary();
        var shard = client.listShards(r -> r.streamName(STREAM)).get().shards().get(0).shardId();
        var iterator = client.getShardIterator(r -> r.streamName(STREAM).shardId(shard)
                .shardIteratorType(ShardIteratorType.TRIM_HORIZON)).get().shardIterator();
        var got = client.getRecords(r -> r.shardIterator(iterator)).get().records();
        var consumer = client.registerStreamConsumer(r -> r.streamARN(summary.streamARN()).consumerName("c")).get()
                .consumer().consumerARN();
        var pushed = new ArrayList<Record>();
        var children = new ArrayList<String>();
        var late = new AtomicBoolean();
        var split = new AtomicBoolean();
        var handler = SubscribeToShardResponseHandler.builder().subscriber(event -> {
            if (event instanceof SubscribeToShardEvent) {
                var records = (SubscribeToShardEvent) event;
                pushed.addAll(records.records());
                if (pushed.size() == 20 && late.compareAndSet(false, true)) {
                    client.putRecord(r -> r.streamName(STREAM).partitionKey("k").data(SdkBytes.fromUtf8String("late")));
                } else if (pushed.size() == 21 && split.compareAndSet(false, true)) {
                    client.splitShard(r -> r.streamName(STREAM).shardToSplit(shard)
                            .newStartingHashKey(java.math.BigInteger.TWO.pow(127).toString()));
                }
                records.childShards().forEach(child -> children.add('"' + child.shardId() + '"'));
            }
        }).build();
        client.subscribeToShard(r -> r.consumerARN(consumer).shardId(shard)
                .startingPosition(s -> s.type(ShardIteratorType.TRIM_HORIZON)), handler).get();
        client.deleteStream(r -> r.streamName(STREAM).enforceConsumerDeletion(true)).get();
        System.out.println("{\"got\": " + told(got) + ", \"pushed\": " + told(pushed) + ", \"children\": " + children + "}");
    }
}
