// Package smoke is what the programs for the Go clients share: the records, what must come of them, and how a check is
// reported.
package smoke

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"
)

const (
	Records    = 1000
	Keys       = 50
	Partitions = 3
	HangAfter  = 120 * time.Second
)

// ScheduledSetting is the topic setting that holds records until their timestamp.
const ScheduledSetting, ScheduledValue = "tidegate.delivery", "scheduled"

// ScheduleHeader names a schedule; the same name with a null value cancels it.
const ScheduleHeader = "tidegate-schedule-id"

// Record is a record to produce, or one that was received.
type Record struct {
	Key, Value []byte
	Time       time.Time
	Schedule   string
}

// Batch is records first .. first + count; a key's values count up.
func Batch(first, count int) []Record {
	var records []Record
	for n := first; n < first+count; n++ {
		records = append(records, Record{Key: key(n), Value: []byte(strconv.Itoa(n))})
	}
	return records
}

func key(n int) []byte { return fmt.Appendf(nil, "key-%d", n%Keys) }

// Received is what a group got: complete, none twice, each key's in order.
type Received struct {
	first, count int
	seen         map[int]bool
	lastOfKey    map[string]int
}

func NewReceived(first, count int) *Received {
	return &Received{first: first, count: count, seen: map[int]bool{}, lastOfKey: map[string]int{}}
}

// Take notes a received record.
func (r *Received) Take(record Record) {
	n, err := strconv.Atoi(string(record.Value))
	Must(err)
	Expect(string(record.Key) == string(key(n)), "record %d has key %s", n, record.Key)
	Expect(n >= r.first && n < r.first+r.count, "record %d is not expected", n)
	Expect(!r.seen[n], "record %d came twice", n)
	last, known := r.lastOfKey[string(record.Key)]
	Expect(!known || last < n, "record %d came after %d of the same key", n, last)
	r.seen[n], r.lastOfKey[string(record.Key)] = true, n
}

// Complete says whether all have come.
func (r *Received) Complete() bool { return len(r.seen) == r.count }

// Schedule is records of one partition that come when they are due, in that order, but for the cancelled one.
type Schedule struct {
	due map[string]time.Time
	got []string
}

var (
	flight    = []byte("flight-7")
	scheduled = []string{"now", "sooner", "later"}
)

// NewSchedule makes the first record. Once it is acknowledged the client is warm, and what Rest makes is with the broker
// seconds before it is due.
func NewSchedule() (*Schedule, []Record) {
	now := time.Now().Truncate(time.Millisecond)
	s := &Schedule{due: map[string]time.Time{"now": now}}
	return s, []Record{{Key: flight, Value: []byte("now"), Time: now}}
}

// Rest makes the other records, relative to now.
func (s *Schedule) Rest() []Record {
	now := time.Now().Truncate(time.Millisecond)
	s.due["later"] = now.Add(12 * time.Second)
	s.due["sooner"] = now.Add(10 * time.Second)
	return []Record{
		{Key: flight, Value: []byte("later"), Time: s.due["later"]},
		{Key: flight, Value: []byte("sooner"), Time: s.due["sooner"]},
		{Key: flight, Value: []byte("never"), Time: now.Add(11 * time.Second), Schedule: "flight-7"},
		{Key: flight, Value: nil, Time: now, Schedule: "flight-7"},
	}
}

// Take notes a received record.
func (s *Schedule) Take(record Record) {
	value := string(record.Value)
	Expect(slices.Contains(scheduled, value), "%q must never come", value)
	Expect(record.Time.Equal(s.due[value]), "%s was given %v and has %v", value, s.due[value], record.Time)
	Expect(!time.Now().Before(record.Time), "%s came early", value)
	s.got = append(s.got, value)
	Expect(slices.Equal(s.got, scheduled[:len(s.got)]), "order: %v", s.got)
}

// Complete says whether all have come.
func (s *Schedule) Complete() bool { return len(s.got) == len(scheduled) }

// Check is a named step.
type Check struct {
	Name string
	Run  func()
}

// Arguments are BOOTSTRAP PREFIX [LEFT-OUT-CHECK...].
func Arguments() (bootstrap, prefix string, leftOut []string) {
	if len(os.Args) < 3 {
		Fail("usage: %s BOOTSTRAP PREFIX [LEFT-OUT-CHECK...]", os.Args[0])
	}
	return os.Args[1], os.Args[2], os.Args[3:]
}

// RunChecks runs them in order and prints a line for each that holds; the first that does not ends the program.
func RunChecks(checks ...Check) {
	_, _, leftOut := Arguments()
	for _, check := range checks {
		if slices.Contains(leftOut, check.Name) {
			continue
		}
		hang := time.AfterFunc(HangAfter, func() { Fail("%s: hung", check.Name) })
		check.Run()
		hang.Stop()
		fmt.Println("ok", check.Name)
	}
}

// Must ends the program at an error.
func Must(err error) {
	if err != nil {
		// A panic shows where.
		panic(err)
	}
}

// Expect ends the program if a condition does not hold.
func Expect(holds bool, format string, arguments ...any) {
	if !holds {
		panic(fmt.Sprintf(format, arguments...))
	}
}

// Fail ends the program.
func Fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", arguments...)
	os.Exit(1)
}
