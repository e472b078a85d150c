// franz-go as an application uses it.
package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidegate.dev/tests/clients/smoke"
)

var (
	bootstrap, prefix, _ = smoke.Arguments()
	topic                = prefix + "-immediate"
	scheduledTopic       = prefix + "-scheduled"
	group                = prefix + "-group"
	ctx                  = context.Background()
	members              []*kgo.Client
	admin                = kadm.NewClient(client())
)

func client(options ...kgo.Opt) *kgo.Client {
	made, err := kgo.NewClient(append(options, kgo.SeedBrokers(bootstrap))...)
	smoke.Must(err)
	return made
}

func createTopic(name string, partitions int32, configs map[string]*string) error {
	_, err := admin.CreateTopic(ctx, partitions, 1, configs, name)
	return err
}

func create() {
	smoke.Must(createTopic(topic, smoke.Partitions, map[string]*string{"retention.ms": kadm.StringPtr("86400000")}))
	err := createTopic(topic, 1, nil)
	smoke.Expect(errors.Is(err, kerr.TopicAlreadyExists), "a topic was created twice: %v", err)
}

// member joins; assigned is called with what it is given.
func member(subscription string, assigned func(partitions int)) *kgo.Client {
	return client(
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(subscription),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, given map[string][]int32) {
			assigned(len(given[subscription]))
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, taken map[string][]int32) {
			assigned(-len(taken[subscription]))
		}),
	)
}

func join() {
	var lock sync.Mutex
	owned := [2]int{}
	shared := make(chan struct{})
	once := sync.Once{}
	for index := range owned {
		members = append(members, member(topic, func(partitions int) {
			lock.Lock()
			defer lock.Unlock()
			owned[index] += partitions
			if owned[0] > 0 && owned[1] > 0 && owned[0]+owned[1] == smoke.Partitions {
				once.Do(func() { close(shared) })
			}
		}))
	}
	<-shared
}

func send(batch []smoke.Record) map[[2]int64]bool {
	producer := client(kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	defer producer.Close()
	var records []*kgo.Record
	for _, record := range batch {
		records = append(records, &kgo.Record{Key: record.Key, Value: record.Value})
	}
	places := map[[2]int64]bool{}
	for _, result := range producer.ProduceSync(ctx, records...) {
		smoke.Must(result.Err)
		places[[2]int64{int64(result.Record.Partition), result.Record.Offset}] = true
	}
	return places
}

func produce() {
	smoke.Expect(len(send(smoke.Batch(0, smoke.Records))) == smoke.Records, "two records share a place")
}

func poll(consumer *kgo.Client, take func(smoke.Record)) {
	soon, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	fetches := consumer.PollFetches(soon)
	for _, failed := range fetches.Errors() {
		if !errors.Is(failed.Err, context.DeadlineExceeded) {
			smoke.Must(failed.Err)
		}
	}
	fetches.EachRecord(func(record *kgo.Record) {
		take(smoke.Record{Key: record.Key, Value: record.Value, Time: record.Timestamp})
	})
}

func take(consumers []*kgo.Client, received *smoke.Received) {
	for !received.Complete() {
		for _, consumer := range consumers {
			poll(consumer, received.Take)
		}
	}
	for _, consumer := range consumers {
		smoke.Must(consumer.CommitUncommittedOffsets(ctx))
		consumer.Close()
	}
}

func consume() { take(members, smoke.NewReceived(0, smoke.Records)) }

func resume() {
	send(smoke.Batch(smoke.Records, 10))
	take([]*kgo.Client{member(topic, func(int) {})}, smoke.NewReceived(smoke.Records, 10))
}

func scheduled() {
	setting := map[string]*string{smoke.ScheduledSetting: kadm.StringPtr(smoke.ScheduledValue)}
	smoke.Must(createTopic(scheduledTopic, 1, setting))
	plan, first := smoke.NewSchedule()
	producer := client(kgo.DefaultProduceTopic(scheduledTopic))
	defer producer.Close()
	send := func(batch []smoke.Record) {
		var records []*kgo.Record
		for _, record := range batch {
			made := &kgo.Record{Key: record.Key, Value: record.Value, Timestamp: record.Time}
			if record.Schedule != "" {
				made.Headers = []kgo.RecordHeader{{Key: smoke.ScheduleHeader, Value: []byte(record.Schedule)}}
			}
			records = append(records, made)
		}
		smoke.Must(producer.ProduceSync(ctx, records...).FirstErr())
	}
	send(first)
	send(plan.Rest())
	consumer := member(scheduledTopic, func(int) {})
	defer consumer.Close()
	for !plan.Complete() {
		poll(consumer, plan.Take)
	}
}

func administer() {
	configs, err := admin.DescribeTopicConfigs(ctx, topic)
	smoke.Must(err)
	described, err := configs.On(topic, nil)
	smoke.Must(err)
	retention := ""
	for _, config := range described.Configs {
		if config.Key == "retention.ms" {
			retention = config.MaybeValue()
		}
	}
	smoke.Expect(retention == "86400000", "retention.ms is %q", retention)

	lags, err := admin.Lag(ctx, group)
	smoke.Must(err)
	lag := lags[group]
	smoke.Must(lag.Error())
	smoke.Expect(lag.State == "Empty" && lag.Lag.Total() == 0, "state %s, lag %d", lag.State, lag.Lag.Total())
	ends, err := admin.ListEndOffsets(ctx, topic)
	smoke.Must(err)
	total := int64(0)
	ends.Each(func(end kadm.ListedOffset) { smoke.Must(end.Err); total += end.Offset })
	smoke.Expect(total == smoke.Records+10, "the log ends add up to %d", total)

	remove := kadm.Offsets{}
	remove.Add(kadm.Offset{Topic: topic, Partition: 0, At: 5})
	deleted, err := admin.DeleteRecords(ctx, remove)
	smoke.Must(err)
	smoke.Must(deleted.Error())
	grown, err := admin.UpdatePartitions(ctx, smoke.Partitions+1, topic)
	smoke.Must(err)
	smoke.Must(grown.Error())
	_, err = admin.DeleteGroup(ctx, group)
	smoke.Must(err)
	_, err = admin.DeleteTopic(ctx, topic)
	smoke.Must(err)
}

func main() {
	smoke.RunChecks(
		smoke.Check{Name: "create", Run: create},
		smoke.Check{Name: "join", Run: join},
		smoke.Check{Name: "produce", Run: produce},
		smoke.Check{Name: "consume", Run: consume},
		smoke.Check{Name: "resume", Run: resume},
		smoke.Check{Name: "scheduled", Run: scheduled},
		smoke.Check{Name: "admin", Run: administer},
	)
}
