// Galsyncd fetches S/MIME certificates from Exchange's address book and lets local programs look up and encrypt with
// them. See galsyncd(1).
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// The first signal ends the context; from then on a second one ends the process.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the program: it parses nothing and decides nothing, and reports the error and the exit status.
func run(ctx context.Context, args []string, in io.Reader, out, err io.Writer) int {
	return (&app{in: in, out: out, err: err}).run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	root := a.command()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	cmd, err := root.ExecuteContextC(ctx)
	status := a.report(usageOf(cmd, err))
	a.conclude(cmd, args, status)
	return status
}
