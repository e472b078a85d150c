// sarama as an application uses it.
package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"tidegate.dev/tests/clients/smoke"
)

var (
	bootstrap, prefix, _ = smoke.Arguments()
	topic                = prefix + "-immediate"
	scheduledTopic       = prefix + "-scheduled"
	group                = prefix + "-group"
	ctx                  = context.Background()
	received             = make(chan taken)
	members              []*member
	admin                = newAdmin()
)

func settings() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	// As long as others have by default: a machine that stands still for a while throws nobody out.
	config.Consumer.Group.Session.Timeout = 45 * time.Second
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Idempotent = true
	config.Producer.Compression = sarama.CompressionSnappy
	config.Net.MaxOpenRequests = 1
	return config
}

func newAdmin() sarama.ClusterAdmin {
	made, err := sarama.NewClusterAdmin([]string{bootstrap}, settings())
	smoke.Must(err)
	return made
}

func createTopic(name string, partitions int32, configs map[string]*string) error {
	detail := sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: configs}
	return admin.CreateTopic(name, &detail, false)
}

func create() {
	retention := "86400000"
	smoke.Must(createTopic(topic, smoke.Partitions, map[string]*string{"retention.ms": &retention}))
	err := createTopic(topic, 1, nil)
	smoke.Expect(errors.Is(err, sarama.ErrTopicAlreadyExists), "a topic was created twice: %v", err)
}

// taken is a record with the session that marks it.
type taken struct {
	message *sarama.ConsumerMessage
	session sarama.ConsumerGroupSession
}

// member runs a group member until it is closed; shared is told how many partitions it has.
type member struct {
	group  sarama.ConsumerGroup
	shared func(partitions int)
	ended  sync.WaitGroup
}

func newMember(subscription string, shared func(partitions int)) *member {
	consumer, err := sarama.NewConsumerGroup([]string{bootstrap}, group, settings())
	smoke.Must(err)
	made := &member{group: consumer, shared: shared}
	made.ended.Go(func() {
		for {
			err := consumer.Consume(ctx, []string{subscription}, made)
			if errors.Is(err, sarama.ErrClosedConsumerGroup) {
				return
			}
			smoke.Must(err)
		}
	})
	return made
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	for _, partitions := range session.Claims() {
		m.shared(len(partitions))
	}
	return nil
}

func (m *member) Cleanup(session sarama.ConsumerGroupSession) error {
	session.Commit()
	for _, partitions := range session.Claims() {
		m.shared(-len(partitions))
	}
	return nil
}

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		received <- taken{message, session}
	}
	return nil
}

func (m *member) close() {
	smoke.Must(m.group.Close())
	m.ended.Wait()
}

func join() {
	var lock sync.Mutex
	owned := [2]int{}
	shared := make(chan struct{})
	once := sync.Once{}
	for index := range owned {
		members = append(members, newMember(topic, func(partitions int) {
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

func messages(to string, batch []smoke.Record) []*sarama.ProducerMessage {
	var made []*sarama.ProducerMessage
	for _, record := range batch {
		message := &sarama.ProducerMessage{Topic: to, Key: sarama.ByteEncoder(record.Key), Timestamp: record.Time}
		if record.Value != nil {
			message.Value = sarama.ByteEncoder(record.Value)
		}
		if record.Schedule != "" {
			header := sarama.RecordHeader{Key: []byte(smoke.ScheduleHeader), Value: []byte(record.Schedule)}
			message.Headers = []sarama.RecordHeader{header}
		}
		made = append(made, message)
	}
	return made
}

func send(to string, batch []smoke.Record) map[[2]int64]bool {
	producer, err := sarama.NewSyncProducer([]string{bootstrap}, settings())
	smoke.Must(err)
	sent := messages(to, batch)
	smoke.Must(producer.SendMessages(sent))
	smoke.Must(producer.Close())
	places := map[[2]int64]bool{}
	for _, message := range sent {
		places[[2]int64{int64(message.Partition), message.Offset}] = true
	}
	return places
}

func produce() {
	smoke.Expect(len(send(topic, smoke.Batch(0, smoke.Records))) == smoke.Records, "two records share a place")
}

func record(message *sarama.ConsumerMessage) smoke.Record {
	return smoke.Record{Key: message.Key, Value: message.Value, Time: message.Timestamp}
}

func take(consumers []*member, expected *smoke.Received) {
	for !expected.Complete() {
		next := <-received
		expected.Take(record(next.message))
		next.session.MarkMessage(next.message, "")
	}
	for _, consumer := range consumers {
		consumer.close()
	}
}

func consume() { take(members, smoke.NewReceived(0, smoke.Records)) }

func resume() {
	send(topic, smoke.Batch(smoke.Records, 10))
	take([]*member{newMember(topic, func(int) {})}, smoke.NewReceived(smoke.Records, 10))
}

func scheduled() {
	setting := smoke.ScheduledValue
	smoke.Must(createTopic(scheduledTopic, 1, map[string]*string{smoke.ScheduledSetting: &setting}))
	plan, first := smoke.NewSchedule()
	send(scheduledTopic, first)
	send(scheduledTopic, plan.Rest())
	consumer := newMember(scheduledTopic, func(int) {})
	for !plan.Complete() {
		next := <-received
		plan.Take(record(next.message))
	}
	consumer.close()
}

func administer() {
	entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic})
	smoke.Must(err)
	retention := ""
	for _, entry := range entries {
		if entry.Name == "retention.ms" {
			retention = entry.Value
		}
	}
	smoke.Expect(retention == "86400000", "retention.ms is %q", retention)
	groups, err := admin.ListConsumerGroups()
	smoke.Must(err)
	_, listed := groups[group]
	smoke.Expect(listed, "the group is not listed: %v", groups)
	described, err := admin.DescribeConsumerGroups([]string{group})
	smoke.Must(err)
	smoke.Expect(described[0].State == "Empty", "the group is %s", described[0].State)
	committed, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0, 1, 2}})
	smoke.Must(err)
	total := int64(0)
	for partition := range int32(smoke.Partitions) {
		total += committed.GetBlock(topic, partition).Offset
	}
	smoke.Expect(total == smoke.Records+10, "the committed offsets add up to %d", total)
	smoke.Must(admin.DeleteRecords(topic, map[int32]int64{0: 5}))
	smoke.Must(admin.CreatePartitions(topic, smoke.Partitions+1, nil, false))
	smoke.Must(admin.DeleteConsumerGroup(group))
	smoke.Must(admin.DeleteTopic(topic))
	smoke.Must(admin.Close())
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
