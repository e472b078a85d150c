package main

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/lockstore"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/mvcc"
)

// destroyed is one range that UnsafeDestroyRange was asked for.
type destroyed struct {
	start, end []byte
	// below: no snapshot of before this sees anything of it.
	below uint64
}

// destroyer: unistore only unlinks table files that lie wholly in the range, so that of
// little data everything stays (and it does the same to the range behind, whose keys have
// the first byte plus one). TiKV removes all versions and all locks of every key.
//
// Here locks are removed; the newest version of each key, and of what it keeps of rolled
// back transactions, is covered by a removal right after it; and what lies below is hidden
// from every snapshot of before, as badger cannot write an old version anew. It is hidden
// until this process ends.
type destroyer struct {
	mu     sync.RWMutex
	ranges []destroyed

	locks  *lockstore.MemStore
	writer mvcc.DBWriter
	newest func() (uint64, error)
}

// UnsafeDestroyRange excludes reads and commits in one phase, as they do one another.
func (s store) UnsafeDestroyRange(_ context.Context, r *kvrpcpb.UnsafeDestroyRangeRequest) (*kvrpcpb.UnsafeDestroyRangeResponse, error) {
	s.onePC.Lock()
	defer s.onePC.Unlock()
	resp := &kvrpcpb.UnsafeDestroyRangeResponse{}
	if err := s.destroyer.destroy(r.StartKey, r.EndKey); err != nil {
		resp.Error = err.Error()
	}
	return resp, nil
}

func (d *destroyer) destroy(start, end []byte) error {
	if len(start) == 0 || len(end) == 0 {
		panic("TiKV does not take a range without a start or an end")
	}
	below, err := d.newest()
	if err != nil {
		return err
	}
	batch := d.writer.NewWriteBatch(0, 0, nil)
	it := d.locks.NewIterator()
	for it.Seek(start); it.Valid() && bytes.Compare(it.Key(), end) < 0; it.Next() {
		batch.PessimisticRollback(slices.Clone(it.Key()))
	}
	if err := d.writer.Write(batch); err != nil {
		return err
	}
	if err := d.writer.DeleteRange(start, end, noLatches{}); err != nil {
		return err
	}
	// Where unistore keeps rolled back transactions.
	if err := d.writer.DeleteRange(besides(start), besides(end), noLatches{}); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ranges = append(d.ranges, destroyed{slices.Clone(start), slices.Clone(end), below})
	return nil
}

func besides(key []byte) []byte {
	key = slices.Clone(key)
	key[0]++
	return key
}

// hides tells whether a key is one of a destroyed range to the snapshot of a version.
func (d *destroyer) hides(key []byte, version uint64) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.ContainsFunc(d.ranges, func(r destroyed) bool {
		return version < r.below && bytes.Compare(r.start, key) <= 0 && bytes.Compare(key, r.end) < 0
	})
}

// seen leaves the pairs that a snapshot sees.
func (d *destroyer) seen(pairs []*kvrpcpb.KvPair, version uint64) []*kvrpcpb.KvPair {
	return slices.DeleteFunc(pairs, func(p *kvrpcpb.KvPair) bool {
		return p.Error == nil && d.hides(p.Key, version)
	})
}

// noLatches: nobody writes in a range that is destroyed.
type noLatches struct{}

func (noLatches) AcquireLatches([]uint64) {}
func (noLatches) ReleaseLatches([]uint64) {}
