// aws-sdk-go-v2 as it comes: puts, reads, a subscription to the end of a shard, a waiter, a paginator, an error.
// Prints one JSON object of what it saw.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

const stream = "go"

func main() {
	if err := run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url string) error {
	settings, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	client := kinesis.NewFromConfig(settings, func(options *kinesis.Options) { options.BaseEndpoint = aws.String(url) })
	seen := map[string]any{}

	if _, err = client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: aws.String(stream), ShardCount: aws.Int32(1)}); err != nil {
		return err
	}
	waiter := kinesis.NewStreamExistsWaiter(client)
	if err = waiter.Wait(ctx, &kinesis.DescribeStreamInput{StreamName: aws.String(stream)}, time.Minute); err != nil {
		return err
	}
	var entries []types.PutRecordsRequestEntry
	for number := range 20 {
		entries = append(entries, types.PutRecordsRequestEntry{Data: fmt.Appendf(nil, "r%d", number), PartitionKey: aws.String("k")})
	}
	put, err := client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: aws.String(stream), Records: entries})
	if err != nil {
		return err
	}
	seen["failed"] = *put.FailedRecordCount
	shard := put.Records[0].ShardId

	iterator, err := client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
		StreamName: aws.String(stream), ShardId: shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	})
	if err != nil {
		return err
	}
	records, err := client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: iterator.ShardIterator})
	if err != nil {
		return err
	}
	seen["got"] = texts(records.Records)

	described, err := client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(stream)})
	if err != nil {
		return err
	}
	arn := described.StreamDescriptionSummary.StreamARN
	registered, err := client.RegisterStreamConsumer(ctx, &kinesis.RegisterStreamConsumerInput{StreamARN: arn, ConsumerName: aws.String("c")})
	if err != nil {
		return err
	}
	position := &types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon}
	subscription, err := subscribe(ctx, client, registered.Consumer.ConsumerARN, shard, position)
	if err != nil {
		return err
	}
	if _, err = client.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: aws.String(stream), Data: []byte("late"), PartitionKey: aws.String("k")}); err != nil {
		return err
	}
	if _, err = client.SplitShard(ctx, &kinesis.SplitShardInput{
		StreamName: aws.String(stream), ShardToSplit: shard, NewStartingHashKey: aws.String("170141183460469231731687303715884105728"),
	}); err != nil {
		return err
	}
	pushed, children := []string{}, []string{}
	for len(children) == 0 {
		for event := range subscription.GetStream().Events() {
			if one, ok := event.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent); ok {
				pushed = append(pushed, texts(one.Value.Records)...)
				for _, child := range one.Value.ChildShards {
					children = append(children, *child.ShardId)
				}
				position = &types.StartingPosition{
					Type: types.ShardIteratorTypeAfterSequenceNumber, SequenceNumber: one.Value.ContinuationSequenceNumber,
				}
			}
		}
		// The SDK closes the request's body as soon as the answer has begun. Where net/http had not yet seen that body's
		// end, it gives the connection up under the stream: a consumer goes on where it was, as after any other end.
		if err = subscription.GetStream().Err(); err != nil && !strings.Contains(err.Error(), "use of closed network connection") {
			return err
		}
		if len(children) == 0 {
			if subscription, err = subscribe(ctx, client, registered.Consumer.ConsumerARN, shard, position); err != nil {
				return err
			}
		}
	}
	seen["pushed"], seen["children"] = pushed, children

	pages := kinesis.NewListStreamsPaginator(client, &kinesis.ListStreamsInput{Limit: aws.Int32(1)})
	streams := []string{}
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		streams = append(streams, page.StreamNames...)
	}
	seen["streams"] = streams

	var missing *types.ResourceNotFoundException
	_, err = client.DescribeStream(ctx, &kinesis.DescribeStreamInput{StreamName: aws.String("absent")})
	seen["missing"] = errors.As(err, &missing)
	return json.NewEncoder(os.Stdout).Encode(seen)
}

// Subscribes, and waits for a subscription before, which is kept for five seconds.
func subscribe(
	ctx context.Context, client *kinesis.Client, consumer *string, shard *string, position *types.StartingPosition,
) (*kinesis.SubscribeToShardOutput, error) {
	for tries := 0; ; tries++ {
		subscription, err := client.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{
			ConsumerARN: consumer, ShardId: shard, StartingPosition: position,
		})
		var busy *types.ResourceInUseException
		if !errors.As(err, &busy) || tries == 10 {
			return subscription, err
		}
		time.Sleep(time.Second)
	}
}

func texts(records []types.Record) []string {
	found := []string{}
	for _, record := range records {
		found = append(found, string(record.Data))
	}
	return found
}
