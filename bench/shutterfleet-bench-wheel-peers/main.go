// Command shutterfleet-bench-wheel-peers measures timers that others wrote, by
// the same code and in the same way as `shutterfleet bench wheel` measures its
// own, which starts this program:
//
//	shutterfleet-bench-wheel-peers          its peers, as a JSON array
//	shutterfleet-bench-wheel-peers NAME     measures one; configuration on stdin
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/shutterfleet/shutterfleet/scheduler/wheel/wheelbench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := wheelbench.Serve(ctx, peers(), os.Args[1:], os.Stdin, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "shutterfleet-bench-wheel-peers:", err)
		os.Exit(1)
	}
}

func peers() []wheelbench.Kind {
	return []wheelbench.Kind{
		{Name: "stdlib", New: newStdlib},
		{Name: "RussellLuo/timingwheel", New: newRussellLuo},
		{Name: "antlabs/timer", New: newAntlabs},
	}
}
