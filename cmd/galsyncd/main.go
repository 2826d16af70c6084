// Galsyncd fetches S/MIME certificates from Exchange's address book and lets local programs look up and encrypt with
// them. See galsyncd(1).
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker.
var version = "dev"

func main() {
	os.Exit(start(&app{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}

// start runs the program with the arguments of this process, until it ends or is told to.
func start(a *app) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// The first signal ends the context; from then on a second one ends the process.
	context.AfterFunc(ctx, stop)
	return a.run(ctx, os.Args[1:])
}

// run is the program: it parses nothing and decides nothing, and reports the error and the exit status.
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
