// lifion-kinesis as it comes: makes the stream, reads it through its own group of consumers, by polling (with fan-out it
// goes to AWS's own address, whatever endpoint it is given). Prints one line of JSON: the records that it was given.
const Kinesis = require('lifion-kinesis');

const [endpoint, dynamo] = process.argv.slice(2);
const common = { region: 'us-east-1', accessKeyId: 'k', secretAccessKey: 's' };
const streamName = 'lifion';
const kinesis = new Kinesis({
  ...common, endpoint, streamName, consumerGroup: 'group', initialPositionInStream: 'TRIM_HORIZON',
  leaseAcquisitionInterval: 500,
  noRecordsPollDelay: 250, dynamoDb: { ...common, endpoint: dynamo, tableName: streamName },
  logger: { debug() {}, warn: console.error, error: console.error },
});
const got = [];
kinesis.on('error', (error) => { console.error(error); process.exit(1); });
kinesis.on('data', ({ records }) => {
  got.push(...records.map(({ data }) => data.n));
  if (got.length === 20) {
    console.log(JSON.stringify({ got: got.sort((a, b) => a - b) }));
    process.exit(0);
  }
});
(async () => {
  await kinesis.startConsumer();
  for (let n = 0; n < 10; n += 1) await kinesis.putRecord({ data: { n }, partitionKey: `k${n}` });
  await kinesis.putRecords({ records: Array.from({ length: 10 }, (_, i) => ({ data: { n: i + 10 }, partitionKey: `k${i}` })) });
})();
