//! aws-sdk-kinesis as it comes: puts, reads, a subscription to the end of a shard, an error.
//! Prints one JSON object of what it saw.

use std::error::Error;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{Config, Credentials, Region};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{
    PutRecordsRequestEntry, Record, ShardIteratorType, StartingPosition,
    SubscribeToShardEventStream,
};
use serde_json::{Value, json};

const STREAM: &str = "rust";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args()
        .nth(1)
        .ok_or("the endpoint's URL is missing")?;
    let config = Config::builder()
        .behavior_version_latest()
        .endpoint_url(url)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("k", "s", None, None, "test"))
        .build();
    println!("{}", run(&Client::from_conf(config)).await?);
    Ok(())
}

async fn run(client: &Client) -> Result<Value, Box<dyn Error>> {
    client
        .create_stream()
        .stream_name(STREAM)
        .shard_count(1)
        .send()
        .await?;
    let arn = client
        .describe_stream_summary()
        .stream_name(STREAM)
        .send()
        .await?
        .stream_description_summary
        .ok_or("no summary")?
        .stream_arn;

    let mut put = client.put_records().stream_name(STREAM);
    for number in 0..20 {
        let data = Blob::new(format!("r{number}"));
        put = put.records(
            PutRecordsRequestEntry::builder()
                .data(data)
                .partition_key("k")
                .build()?,
        );
    }
    let put = put.send().await?;
    let shard = put.records[0].shard_id.clone().ok_or("no shard")?;

    let iterator = client
        .get_shard_iterator()
        .stream_name(STREAM)
        .shard_id(&shard)
        .shard_iterator_type(ShardIteratorType::TrimHorizon)
        .send()
        .await?
        .shard_iterator
        .ok_or("no iterator")?;
    let got = client.get_records().shard_iterator(iterator).send().await?;

    let consumer = client
        .register_stream_consumer()
        .stream_arn(arn)
        .consumer_name("c")
        .send()
        .await?;
    let from = StartingPosition::builder()
        .r#type(ShardIteratorType::TrimHorizon)
        .build()?;
    let mut subscription = client
        .subscribe_to_shard()
        .consumer_arn(consumer.consumer.ok_or("no consumer")?.consumer_arn)
        .shard_id(&shard)
        .starting_position(from)
        .send()
        .await?;
    client
        .put_record()
        .stream_name(STREAM)
        .partition_key("k")
        .data(Blob::new("late"))
        .send()
        .await?;
    client
        .split_shard()
        .stream_name(STREAM)
        .shard_to_split(&shard)
        .new_starting_hash_key((1u128 << 127).to_string())
        .send()
        .await?;
    let (mut pushed, mut children) = (Vec::new(), Vec::new());
    while let Some(event) = subscription.event_stream.recv().await? {
        if let SubscribeToShardEventStream::SubscribeToShardEvent(event) = event {
            pushed.extend(texts(&event.records));
            children.extend(
                event
                    .child_shards
                    .unwrap_or_default()
                    .into_iter()
                    .map(|child| child.shard_id),
            );
        }
    }

    let missing = client
        .describe_stream()
        .stream_name("absent")
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    Ok(json!({
        "failed": put.failed_record_count,
        "got": texts(&got.records),
        "pushed": pushed,
        "children": children,
        "missing": missing.is_resource_not_found_exception(),
    }))
}

fn texts(records: &[Record]) -> Vec<String> {
    records
        .iter()
        .map(|record| String::from_utf8_lossy(record.data.as_ref()).into_owned())
        .collect()
}
