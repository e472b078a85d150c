// kafka-go as an application uses it. Its reader keeps to the oldest group protocol versions of all stock clients.
package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"tidegate.dev/tests/clients/smoke"
)

var (
	bootstrap, prefix, _ = smoke.Arguments()
	topic                = prefix + "-immediate"
	scheduledTopic       = prefix + "-scheduled"
	group                = prefix + "-group"
	ctx                  = context.Background()
	client               = &kafka.Client{Addr: kafka.TCP(bootstrap), Timeout: smoke.HangAfter}
	members              []*kafka.Reader
)

func createTopic(name string, partitions int, settings ...kafka.ConfigEntry) error {
	config := kafka.TopicConfig{Topic: name, NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: settings}
	answer, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{config}})
	if err != nil {
		return err
	}
	return answer.Errors[name]
}

func create() {
	smoke.Must(createTopic(topic, smoke.Partitions, kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: "86400000"}))
	err := createTopic(topic, 1)
	smoke.Expect(errors.Is(err, kafka.TopicAlreadyExists), "a topic was created twice: %v", err)
}

func member(subscription string) *kafka.Reader {
	return kafka.NewReader(kafka.ReaderConfig{
		Brokers:               []string{bootstrap},
		GroupID:               group,
		Topic:                 subscription,
		StartOffset:           kafka.FirstOffset,
		MaxWait:               100 * time.Millisecond,
		WatchPartitionChanges: false,
	})
}

// join asks the coordinator, as a reader does not tell what it was given.
func join() {
	members = []*kafka.Reader{member(topic), member(topic)}
	for {
		answer, err := client.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
		smoke.Must(err)
		described := answer.Groups[0]
		smoke.Must(described.Error)
		if described.GroupState == "Stable" && len(described.Members) == 2 {
			return
		}
		// Nothing tells when to ask again.
		time.Sleep(50 * time.Millisecond)
	}
}

func send(to string, batch []smoke.Record) {
	writer := &kafka.Writer{
		Addr:         kafka.TCP(bootstrap),
		Topic:        to,
		Balancer:     &kafka.Murmur2Balancer{Consistent: true},
		RequiredAcks: kafka.RequireAll,
		Compression:  kafka.Gzip,
		BatchTimeout: 5 * time.Millisecond,
	}
	var messages []kafka.Message
	for _, record := range batch {
		message := kafka.Message{Key: record.Key, Value: record.Value, Time: record.Time}
		if record.Schedule != "" {
			message.Headers = []kafka.Header{{Key: smoke.ScheduleHeader, Value: []byte(record.Schedule)}}
		}
		messages = append(messages, message)
	}
	smoke.Must(writer.WriteMessages(ctx, messages...))
	smoke.Must(writer.Close())
}

func produce() {
	send(topic, smoke.Batch(0, smoke.Records))
	smoke.Expect(logEnds() == smoke.Records, "the log ends add up to %d", logEnds())
}

func logEnds() int64 {
	wanted := []kafka.OffsetRequest{kafka.LastOffsetOf(0), kafka.LastOffsetOf(1), kafka.LastOffsetOf(2)}
	answer, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: wanted}})
	smoke.Must(err)
	total := int64(0)
	for _, partition := range answer.Topics[topic] {
		smoke.Must(partition.Error)
		total += partition.LastOffset
	}
	return total
}

// take reads with all readers at once: a reader blocks until it is given something.
func take(readers []*kafka.Reader, received *smoke.Received) {
	all, cancel := context.WithCancel(ctx)
	messages := make(chan kafka.Message)
	var running sync.WaitGroup
	for _, reader := range readers {
		running.Go(func() {
			for {
				message, err := reader.FetchMessage(all)
				if errors.Is(err, context.Canceled) {
					return
				}
				smoke.Must(err)
				messages <- message
				smoke.Must(reader.CommitMessages(ctx, message))
			}
		})
	}
	for !received.Complete() {
		message := <-messages
		received.Take(smoke.Record{Key: message.Key, Value: message.Value, Time: message.Time})
	}
	// Each reader commits its last record before it looks at the cancelled context.
	cancel()
	running.Wait()
	for _, reader := range readers {
		smoke.Must(reader.Close())
	}
}

func consume() { take(members, smoke.NewReceived(0, smoke.Records)) }

func resume() {
	send(topic, smoke.Batch(smoke.Records, 10))
	take([]*kafka.Reader{member(topic)}, smoke.NewReceived(smoke.Records, 10))
}

func scheduled() {
	setting := kafka.ConfigEntry{ConfigName: smoke.ScheduledSetting, ConfigValue: smoke.ScheduledValue}
	smoke.Must(createTopic(scheduledTopic, 1, setting))
	plan, first := smoke.NewSchedule()
	send(scheduledTopic, first)
	send(scheduledTopic, plan.Rest())
	reader := member(scheduledTopic)
	for !plan.Complete() {
		message, err := reader.FetchMessage(ctx)
		smoke.Must(err)
		plan.Take(smoke.Record{Key: message.Key, Value: message.Value, Time: message.Time})
	}
	smoke.Must(reader.Close())
}

func administer() {
	smoke.Expect(logEnds() == smoke.Records+10, "the log ends add up to %d", logEnds())
	committed, err := client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {0, 1, 2}}})
	smoke.Must(err)
	total := int64(0)
	for _, partition := range committed.Topics[topic] {
		total += partition.CommittedOffset
	}
	smoke.Expect(total == smoke.Records+10, "the committed offsets add up to %d", total)
	answer, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	smoke.Must(err)
	smoke.Must(answer.Errors[topic])
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
