// A single-node TiKV-protocol store for integration tests: PingCAP's unistore
// served over gRPC and registered with a real PD.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/pingcap/badger"
	"github.com/pingcap/badger/options"
	"github.com/pingcap/kvproto/pkg/deadlock"
	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/config"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/lockstore"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/pd"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/dbreader"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/mvcc"
	"google.golang.org/grpc"
)

// store answers the few calls where unistore relies on habits of client-go that
// the Rust client does not share, or is not isolated as TiKV is.
type store struct {
	*tikv.Server
	db        *badger.DB
	destroyer *destroyer

	// onePC: unistore takes the version of a one-phase commit before it writes it,
	// and holds no lock meanwhile: a snapshot of in between would not see it at first
	// and see it later. TiKV has locks in memory for that. Here such commits and reads
	// exclude one another.
	onePC *sync.RWMutex
}

// KvGet: unistore never sets NotFound, so the Rust client would read a missing
// key as an empty value.
func (s store) KvGet(ctx context.Context, r *kvrpcpb.GetRequest) (*kvrpcpb.GetResponse, error) {
	s.onePC.RLock()
	defer s.onePC.RUnlock()
	return s.get(ctx, r)
}

func (s store) get(ctx context.Context, r *kvrpcpb.GetRequest) (*kvrpcpb.GetResponse, error) {
	resp, err := s.Server.KvGet(ctx, r)
	if err == nil && resp.Error == nil && resp.RegionError == nil {
		if s.destroyer.hides(r.Key, r.Version) {
			resp.Value = nil
		}
		resp.NotFound = len(resp.Value) == 0
	}
	return resp, err
}

func (s store) KvBatchGet(ctx context.Context, r *kvrpcpb.BatchGetRequest) (*kvrpcpb.BatchGetResponse, error) {
	s.onePC.RLock()
	defer s.onePC.RUnlock()
	resp, err := s.Server.KvBatchGet(ctx, r)
	if err == nil {
		resp.Pairs = s.destroyer.seen(resp.Pairs, r.Version)
	}
	return resp, err
}

// KvScan: unistore ignores KeyOnly, and a reverse scan reads the newest versions
// whatever its snapshot, as it sets the snapshot after it has made the iterator.
func (s store) KvScan(ctx context.Context, r *kvrpcpb.ScanRequest) (*kvrpcpb.ScanResponse, error) {
	s.onePC.RLock()
	defer s.onePC.RUnlock()
	resp, err := s.Server.KvScan(ctx, r)
	if err == nil && r.Reverse && resp.RegionError == nil && !slices.ContainsFunc(resp.Pairs, hasError) {
		resp.Pairs, err = s.reverseScan(r)
	}
	if err == nil {
		resp.Pairs = s.destroyer.seen(resp.Pairs, r.Version)
	}
	if err == nil && r.KeyOnly {
		for _, p := range resp.Pairs {
			p.Value = nil
		}
	}
	return resp, err
}

// KvScanLock: unistore gives the locks of the whole region, whatever range is asked
// for: to resolve those of one key would end the transactions of all others.
func (s store) KvScanLock(ctx context.Context, r *kvrpcpb.ScanLockRequest) (*kvrpcpb.ScanLockResponse, error) {
	resp, err := s.Server.KvScanLock(ctx, r)
	if err == nil {
		resp.Locks = slices.DeleteFunc(resp.Locks, func(l *kvrpcpb.LockInfo) bool {
			return bytes.Compare(l.Key, r.StartKey) < 0 || len(r.EndKey) > 0 && bytes.Compare(l.Key, r.EndKey) >= 0
		})
	}
	return resp, err
}

func hasError(p *kvrpcpb.KvPair) bool { return p.Error != nil }

// reverseScan reads the snapshot of r from its start key, exclusive, down to its
// end key; there are no locks in the way.
func (s store) reverseScan(r *kvrpcpb.ScanRequest) ([]*kvrpcpb.KvPair, error) {
	txn := s.db.NewTransaction(false)
	txn.SetReadTS(r.Version)
	reader := dbreader.NewDBReader(r.EndKey, r.StartKey, txn)
	defer reader.Close()
	c := &collector{}
	err := reader.ReverseScan(r.EndKey, r.StartKey, int(r.Limit), r.Version, c)
	return c.pairs, err
}

type collector struct{ pairs []*kvrpcpb.KvPair }

func (c *collector) Process(key, value []byte) error {
	c.pairs = append(c.pairs, &kvrpcpb.KvPair{Key: slices.Clone(key), Value: slices.Clone(value)})
	return nil
}

func (c *collector) SkipValue() bool { return false }

// lockToWrite: a key that was only locked leaves nothing in unistore that an older
// transaction could conflict with; in TiKV it leaves a record. To write what the
// snapshot has is the same to everybody: if it is not what is there now, it conflicts.
func (s store) lockToWrite(ctx context.Context, r *kvrpcpb.PrewriteRequest) (*kvrpcpb.PrewriteResponse, error) {
	for _, m := range r.Mutations {
		if m.Op != kvrpcpb.Op_Lock {
			continue
		}
		got, err := s.get(ctx, &kvrpcpb.GetRequest{Context: r.Context, Key: m.Key, Version: r.StartVersion})
		switch {
		case err != nil:
			return nil, err
		case got.RegionError != nil:
			return &kvrpcpb.PrewriteResponse{RegionError: got.RegionError}, nil
		case got.Error != nil:
			return &kvrpcpb.PrewriteResponse{Errors: []*kvrpcpb.KeyError{got.Error}}, nil
		case got.NotFound:
			m.Op = kvrpcpb.Op_Del
		default:
			m.Op, m.Value = kvrpcpb.Op_Put, got.Value
		}
	}
	return nil, nil
}

// KvPrewrite: unistore copies Secondaries into every lock even without async
// commit (the Rust client always fills it: quadratic), and a lock of 8 MiB or
// more crashes it, where TiKV answers RaftEntryTooLarge.
func (s store) KvPrewrite(ctx context.Context, r *kvrpcpb.PrewriteRequest) (*kvrpcpb.PrewriteResponse, error) {
	if !r.UseAsyncCommit {
		r.Secondaries = nil
	}
	if r.Size() >= 8*config.MB-4096 {
		return &kvrpcpb.PrewriteResponse{RegionError: &errorpb.Error{
			Message: "entry too large", RaftEntryTooLarge: &errorpb.RaftEntryTooLarge{
				RegionId: r.Context.GetRegionId(), EntrySize: uint64(r.Size())}}}, nil
	}
	if r.TryOnePc {
		s.onePC.Lock()
		defer s.onePC.Unlock()
	}
	if refused, err := s.lockToWrite(ctx, r); refused != nil || err != nil {
		return refused, err
	}
	return s.Server.KvPrewrite(ctx, r)
}

func main() {
	pdAddr := flag.String("pd", "127.0.0.1:2379", "PD address")
	addr := flag.String("addr", "127.0.0.1:20160", "listen address")
	advertised := flag.String("advertise-addr", "", "address that PD tells clients; default: the listen address")
	dir := flag.String("data-dir", "", "data directory")
	fsync := flag.Bool("sync", false, "fsync every write")
	regionMB := flag.Int64("region-mb", 64, "size at which a region splits")
	tlsDir := flag.String("tls-dir", "", "only serve TLS on -addr in front of -tls-target, with certificates in this directory")
	tlsTarget := flag.String("tls-target", "", "what -tls-dir is in front of")
	untilStdin := flag.Bool("until-stdin-closes", false, "stop also when standard input ends, with the test that holds it, and obey its lines (faults.go)")
	flag.Parse()

	if *advertised == "" {
		*advertised = *addr
	}

	if *tlsDir != "" {
		if *untilStdin {
			go func() {
				io.Copy(io.Discard, os.Stdin)
				os.Exit(0)
			}()
		}
		serveTLS(*tlsDir, *addr, *tlsTarget)
	}

	conf := config.DefaultConf
	conf.Server.PDAddr, conf.Server.StoreAddr = *pdAddr, *advertised
	conf.Server.Raft = false
	conf.Server.RegionSize = *regionMB * config.MB
	conf.Engine.DBPath = *dir
	conf.Engine.ValueThreshold = 0
	conf.Engine.SyncWrite = *fsync
	must(os.MkdirAll(*dir, 0o755))

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	asked := &faults{next: map[string]*fault{}}
	if *untilStdin {
		go func() {
			asked.obey(os.Stdin)
			stop()
		}()
	}
	c, err := pd.NewClient([]string{"http://" + *pdAddr}, "store")
	must(err)
	pdc := &heartbeats{Client: c, last: map[uint64]*pdpb.RegionHeartbeatRequest{}}
	svc, db, destroyer, err := open(&conf, pdc)
	must(err)
	go pdc.run(*pdAddr)
	l, err := net.Listen("tcp", *addr)
	must(err)
	g := grpc.NewServer(grpc.MaxRecvMsgSize(64<<20), grpc.MaxSendMsgSize(64<<20), grpc.UnaryInterceptor(asked.intercept))
	tikvpb.RegisterTikvServer(g, store{Server: svc, db: db, destroyer: destroyer, onePC: &sync.RWMutex{}})
	deadlock.RegisterDeadlockServer(g, svc)
	go func() { must(g.Serve(l)) }()
	fmt.Println("READY", *addr)
	<-ctx.Done()
	g.Stop()
	svc.Stop()
}

// open assembles unistore from its parts, as its server.New does, and in
// addition loads the locks that the last clean stop wrote to lock_store; without
// them a restart forgets prewritten secondaries and tears transactions.
func open(conf *config.Config, pdc pd.Client) (*tikv.Server, *badger.DB, *destroyer, error) {
	physical, logical, err := pdc.GetTS(context.Background())
	if err != nil {
		return nil, nil, nil, err
	}
	sp := &tikv.SafePoint{}
	o := badger.DefaultOptions
	o.Dir = filepath.Join(conf.Engine.DBPath, "kv")
	o.ValueDir = o.Dir
	o.ManagedTxns = true
	o.ValueThreshold = 0
	o.SyncWrites = conf.Engine.SyncWrite
	o.CompactionFilterFactory = sp.CreateCompactionFilter
	for i := range o.TableBuilderOptions.CompressionPerLevel {
		o.TableBuilderOptions.CompressionPerLevel[i] = options.None
	}
	db, err := badger.Open(o)
	if err != nil {
		return nil, nil, nil, err
	}
	b := &mvcc.DBBundle{DB: db, LockStore: lockstore.NewMemStore(8 << 20), StateTS: uint64(physical)<<18 + uint64(logical)}
	dump := filepath.Join(conf.Engine.DBPath, "lock_store")
	if raw, err := os.ReadFile(dump); err == nil {
		for len(raw) >= 8 {
			k, v := int(binary.NativeEndian.Uint32(raw)), int(binary.NativeEndian.Uint32(raw[4:]))
			b.LockStore.Put(raw[8:8+k], raw[8+k:8+k+v])
			raw = raw[8+k+v:]
		}
		must(os.Remove(dump)) // valid once: stale after the next write
	}
	rm := tikv.NewStandAloneRegionManager(b, tikv.RegionOptions{StoreAddr: conf.Server.StoreAddr,
		PDAddr: conf.Server.PDAddr, RegionSize: conf.Server.RegionSize}, pdc)
	inner := tikv.NewStandAlongInnerServer(b)
	inner.Setup(pdc)
	writer := tikv.NewDBWriter(b)
	st := tikv.NewMVCCStore(conf, b, conf.Engine.DBPath, sp, writer, pdc)
	st.DeadlockDetectSvr.ChangeRole(tikv.Leader)
	if err := inner.Start(pdc); err != nil {
		return nil, nil, nil, err
	}
	st.StartDeadlockDetection(false)
	newest := func() (uint64, error) {
		physical, logical, err := pdc.GetTS(context.Background())
		return uint64(physical)<<18 + uint64(logical), err
	}
	return tikv.NewServer(rm, st, inner), db, &destroyer{locks: b.LockStore, writer: writer, newest: newest}, nil
}

// heartbeats re-sends every region each second, as TiKV does: unistore reports a
// region only when it loads or splits, so a restarted PD would not know it.
type heartbeats struct {
	pd.Client
	mu   sync.Mutex
	last map[uint64]*pdpb.RegionHeartbeatRequest
}

func (h *heartbeats) ReportRegion(r *pdpb.RegionHeartbeatRequest) {
	h.mu.Lock()
	h.last[r.Region.Id] = r
	h.mu.Unlock()
	h.Client.ReportRegion(r)
}

// A PD that has been away gets them from a new client: gRPC tries a connection
// again after up to two minutes, and until then PD would know no region.
func (h *heartbeats) run(pdAddr string) {
	client, wasAway := h.Client, false
	for range time.Tick(time.Second) {
		if !listens(pdAddr) {
			wasAway = true
			continue
		}
		if wasAway {
			anew, err := pd.NewClient([]string{"http://" + pdAddr}, "store")
			if err != nil {
				continue
			}
			if client != h.Client {
				client.Close()
			}
			client, wasAway = anew, false
		}
		h.mu.Lock()
		all := slices.Collect(maps.Values(h.last))
		h.mu.Unlock()
		for _, r := range all {
			client.ReportRegion(&pdpb.RegionHeartbeatRequest{Region: r.Region, Leader: r.Leader, ApproximateSize: r.ApproximateSize})
		}
	}
}

func listens(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
