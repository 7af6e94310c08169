// The AWS SDK for Java v1, which older tools carry: a stream whole, from its making through a split to its end.
// `java -cp CLASSES:JARS ClientV1 ENDPOINT`; prints one line of JSON of what it saw.
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import com.amazonaws.auth.EnvironmentVariableCredentialsProvider;
import com.amazonaws.client.builder.AwsClientBuilder.EndpointConfiguration;
import com.amazonaws.services.kinesis.AmazonKinesisClientBuilder;
import com.amazonaws.services.kinesis.model.*;

public class ClientV1 {
    static final String STREAM = "java1";

    public static void main(String[] args) throws Exception {
        var client = AmazonKinesisClientBuilder.standard()
                .withEndpointConfiguration(new EndpointConfiguration(args[0], "us-east-1"))
                .withCredentials(new EnvironmentVariableCredentialsProvider()).build();
        client.createStream(STREAM, 1);
        client.waiters().streamExists()
                .run(new com.amazonaws.waiters.WaiterParameters<>(new DescribeStreamRequest().withStreamName(STREAM)));

        var entries = new ArrayList<PutRecordsRequestEntry>();
        for (int number = 0; number < 20; number++) {
            entries.add(new PutRecordsRequestEntry().withPartitionKey("k").withData(bytes("r" + number)));
        }
        var put = client.putRecords(new PutRecordsRequest().withStreamName(STREAM).withRecords(entries));
        var shard = put.getRecords().get(0).getShardId();
        var last = put.getRecords().get(19).getSequenceNumber();
        client.putRecord(new PutRecordRequest().withStreamName(STREAM).withPartitionKey("k").withData(bytes("late"))
                .withSequenceNumberForOrdering(last));
        client.splitShard(STREAM, shard, java.math.BigInteger.TWO.pow(127).toString());
        client.waiters().streamExists()
                .run(new com.amazonaws.waiters.WaiterParameters<>(new DescribeStreamRequest().withStreamName(STREAM)));

        var got = new ArrayList<String>();
        var children = new ArrayList<String>();
        var iterator = client.getShardIterator(STREAM, shard, "TRIM_HORIZON").getShardIterator();
        while (iterator != null) {
            var read = client.getRecords(new GetRecordsRequest().withShardIterator(iterator).withLimit(8));
            for (var record : read.getRecords()) {
                got.add(StandardCharsets.UTF_8.decode(record.getData()).toString());
            }
            if (read.getChildShards() != null) {
                read.getChildShards().forEach(child -> children.add(child.getShardId()));
            }
            iterator = read.getNextShardIterator();
        }
        var missing = "";
        try {
            client.describeStream("nothing");
        } catch (ResourceNotFoundException error) {
            missing = error.getErrorMessage();
        }
        client.deleteStream(STREAM);
        System.out.println("{\"failed\": " + put.getFailedRecordCount() + ", \"got\": " + told(got) + ", \"children\": "
                + told(children) + ", \"missing\": \"" + missing + "\"}");
    }

    static ByteBuffer bytes(String text) {
        return ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8));
    }

    static String told(List<String> texts) {
        return texts.stream().map(text -> '"' + text + '"').collect(Collectors.joining(", ", "[", "]"));
    }
}
