// Uses a stream whole through @aws-sdk/client-kinesis as it comes: HTTP/2, and the protocol that it chooses by itself.
// Prints one line of JSON: what was put, what GetRecords gave, what SubscribeToShard pushed.
import {
  CreateStreamCommand, DeleteStreamCommand, DescribeStreamSummaryCommand, GetRecordsCommand, GetShardIteratorCommand,
  KinesisClient, ListShardsCommand, PutRecordCommand, PutRecordsCommand, RegisterStreamConsumerCommand,
  SplitShardCommand, SubscribeToShardCommand, waitUntilStreamExists,
} from "@aws-sdk/client-kinesis";

const [endpoint] = process.argv.slice(2);
const client = new KinesisClient({
  endpoint, region: "us-east-1", credentials: { accessKeyId: "k", secretAccessKey: "s" },
});
const StreamName = "node";
const bytes = (text) => new TextEncoder().encode(text);
const text = (data) => new TextDecoder().decode(data);

await client.send(new CreateStreamCommand({ StreamName, ShardCount: 1 }));
await waitUntilStreamExists({ client, maxWaitTime: 10, minDelay: 1, maxDelay: 1 }, { StreamName });
const summary = (await client.send(new DescribeStreamSummaryCommand({ StreamName }))).StreamDescriptionSummary;
const records = Array.from({ length: 20 }, (_, i) => ({ PartitionKey: `k${i}`, Data: bytes(`r${i}`) }));
const put = await client.send(new PutRecordsCommand({ StreamName, Records: records }));
const shard = (await client.send(new ListShardsCommand({ StreamName }))).Shards[0].ShardId;
const start = { StreamName, ShardId: shard, ShardIteratorType: "TRIM_HORIZON" };
const iterator = (await client.send(new GetShardIteratorCommand(start))).ShardIterator;
const got = await client.send(new GetRecordsCommand({ ShardIterator: iterator }));

const consumer = { StreamARN: summary.StreamARN, ConsumerName: "c" };
const ConsumerARN = (await client.send(new RegisterStreamConsumerCommand(consumer))).Consumer.ConsumerARN;
const StartingPosition = { Type: "TRIM_HORIZON" };
const answer = await client.send(new SubscribeToShardCommand({ ConsumerARN, ShardId: shard, StartingPosition }));
const pushed = [];
let children = [];
for await (const event of answer.EventStream) {
  const told = event.SubscribeToShardEvent;
  pushed.push(...told.Records.map((record) => text(record.Data)));
  if (pushed.length === 20) {
    await client.send(new PutRecordCommand({ StreamName, PartitionKey: "k", Data: bytes("late") }));
  } else if (pushed.length === 21 && !told.ChildShards?.length) {
    const half = (2n ** 127n).toString();
    await client.send(new SplitShardCommand({ StreamName, ShardToSplit: shard, NewStartingHashKey: half }));
  }
  children = (told.ChildShards ?? []).map((child) => child.ShardId);
}
let missing = "";
try {
  await client.send(new DescribeStreamSummaryCommand({ StreamName: "nothing" }));
} catch (error) {
  missing = error.name;
}
await client.send(new DeleteStreamCommand({ StreamName, EnforceConsumerDeletion: true }));
client.destroy();
console.log(JSON.stringify({
  failed: put.FailedRecordCount, got: got.Records.map((record) => text(record.Data)), pushed, children, missing,
  arrived: got.Records[0].ApproximateArrivalTimestamp instanceof Date,
}));
