// The Kinesis Producer Library with its native daemon: puts, aggregated; a split between the halves that it is not told of.
// `java -cp CLASSES:JARS Putter PORT CA_FILE TEMPORARY`; waits for a line on its input before the second half.
// Prints a line of JSON for each half: the shards that the records are said to be in, and how many attempts failed.
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.TreeSet;
import com.google.common.util.concurrent.ListenableFuture;
import software.amazon.awssdk.auth.credentials.EnvironmentVariableCredentialsProvider;
import software.amazon.kinesis.producer.KinesisProducer;
import software.amazon.kinesis.producer.KinesisProducerConfiguration;
import software.amazon.kinesis.producer.UserRecordResult;

public class Putter {
    static final String STREAM = "kpl";
    static final int HALF = 200;

    public static void main(String[] args) throws Exception {
        var configuration = new KinesisProducerConfiguration()
                .setRegion("us-east-1")
                .setCredentialsProvider(EnvironmentVariableCredentialsProvider.create())
                .setKinesisEndpoint("127.0.0.1")
                .setKinesisPort(Long.parseLong(args[0]))
                .setStsEndpoint("127.0.0.1")
                .setStsPort(Long.parseLong(args[0]))
                .setCaCertFile(args[1])
                .setVerifyCertificate(true)
                .setMetricsLevel("none")
                .setTempDirectory(args[2]);
        var producer = new KinesisProducer(configuration);
        try {
            put(producer, 0);
            System.in.read();
            put(producer, HALF);
        } finally {
            producer.destroy();
        }
    }

    static void put(KinesisProducer producer, int first) throws Exception {
        var waiting = new ArrayList<ListenableFuture<UserRecordResult>>();
        for (int number = first; number < first + HALF; number++) {
            var data = ByteBuffer.wrap(("r" + number).getBytes(StandardCharsets.UTF_8));
            waiting.add(producer.addUserRecord(STREAM, "k" + number, data));
        }
        producer.flushSync();
        var shards = new TreeSet<String>();
        int failed = 0;
        for (var one : waiting) {
            var result = one.get();
            shards.add('"' + result.getShardId() + '"');
            failed += result.getAttempts().stream().filter(attempt -> !attempt.isSuccessful()).count();
        }
        System.out.println("{\"shards\": " + shards + ", \"failed\": " + failed + "}");
    }
}
