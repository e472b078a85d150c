package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"path"
	"reflect"
	"sync"

	"github.com/pingcap/kvproto/pkg/errorpb"
	"google.golang.org/grpc"
)

// faults is what a test has asked for that the next calls of a method are to
// meet: it says so on standard input, a line for each, in place of what it has said of
// the method before, and reads how many of those calls have not come: DONE COUNT.
//
//	busy METHOD COUNT    the next COUNT calls are answered ServerIsBusy, and not done
//	lose METHOD COUNT    the next COUNT calls get no answer, and are not done
type faults struct {
	mu   sync.Mutex
	next map[string]*fault // by method, as in "KvPrewrite"
}

type fault struct {
	kind string
	left int
}

// obey reads what is asked for until the input ends.
func (f *faults) obey(in io.Reader) {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var method string
		next := &fault{}
		if _, err := fmt.Sscan(lines.Text(), &next.kind, &method, &next.left); err != nil || next.kind != "busy" && next.kind != "lose" {
			must(fmt.Errorf("not a fault: %q", lines.Text()))
		}
		f.mu.Lock()
		before := f.next[method]
		f.next[method] = next
		f.mu.Unlock()
		if before == nil {
			before = &fault{}
		}
		fmt.Println("DONE", before.left)
	}
}

// take says which fault a call of the method meets.
func (f *faults) take(method string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := f.next[method]
	if next == nil || next.left == 0 {
		return ""
	}
	next.left--
	return next.kind
}

func (f *faults) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	method := path.Base(info.FullMethod)
	switch f.take(method) {
	case "busy":
		return busy(info.Server, method), nil
	case "lose":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return handle(ctx, req)
}

// busy is the method's own answer, in which a region's error is all.
func busy(server any, method string) any {
	m, _ := reflect.TypeOf(server).MethodByName(method)
	answer := reflect.New(m.Type.Out(0).Elem())
	answer.Elem().FieldByName("RegionError").Set(reflect.ValueOf(&errorpb.Error{
		Message:      "server is busy",
		ServerIsBusy: &errorpb.ServerIsBusy{Reason: "a test has said so"},
	}))
	return answer.Interface()
}
