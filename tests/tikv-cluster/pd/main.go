//go:debug httpmuxgo121=1

// A single-node Placement Driver for integration tests: the real
// github.com/tikv/pd server, embedded, without dashboard.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/pingcap/log"
	"github.com/spf13/pflag"
	"github.com/tikv/pd/pkg/schedule/schedulers"
	"github.com/tikv/pd/pkg/utils/logutil"
	"github.com/tikv/pd/server"
	"github.com/tikv/pd/server/api"
	"github.com/tikv/pd/server/config"
)

func main() {
	fs := pflag.NewFlagSet("pd", pflag.ExitOnError)
	for _, f := range []string{"config", "name", "data-dir", "client-urls", "advertise-client-urls",
		"peer-urls", "advertise-peer-urls", "initial-cluster", "join", "metrics-addr",
		"log-level", "log-file", "cacert", "cert", "key"} {
		fs.String(f, "", "")
	}
	fs.Bool("force-new-cluster", false, "")
	fs.Bool("version", false, "")
	fs.Bool("config-check", false, "")
	untilStdin := fs.Bool("until-stdin-closes", false, "stop also when standard input ends: with the test that holds it")
	must(fs.Parse(os.Args[1:]))

	schedulers.Register()
	cfg := config.NewConfig()
	must(cfg.Parse(fs))
	// A leader that stands still for its lease (3 s by default) is elected anew, and then its time runs up to 3 s ahead of
	// everybody else's: what is due comes early by any other clock.
	cfg.LeaderLease = 60
	must(logutil.SetupLogger(cfg.Log, &cfg.Logger, &cfg.LogProps, cfg.Security.RedactInfoLog))
	log.ReplaceGlobals(cfg.Logger, cfg.LogProps)

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if *untilStdin {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			stop()
		}()
	}
	svr, err := server.CreateServer(ctx, cfg, nil, api.NewHandler)
	must(err)
	must(svr.Run())
	fmt.Println("READY", svr.GetAddr())
	<-ctx.Done()
	svr.Close()
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
