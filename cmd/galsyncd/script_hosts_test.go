package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/galsyncd/galsyncd/internal/exchangesim"
)

// townsman is the program in a network of its own: HOSTS lists NAME:PORT=ADDRESS for the names that there are, SRV lists
// DOMAIN=HOST:PORT for the records _autodiscover._tcp. Certificates are verified as ever. Only the test binary has it.
func townsman() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	t := townNetwork{hosts: assignments(os.Getenv("HOSTS")), srv: assignments(os.Getenv("SRV"))}
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, network: network{dial: t.dial, resolver: t}}
	os.Exit(a.run(ctx, os.Args[1:]))
}

func assignments(list string) map[string]string {
	all := map[string]string{}
	for _, item := range strings.Fields(list) {
		name, value, _ := strings.Cut(item, "=")
		all[name] = value
	}
	return all
}

type townNetwork struct{ hosts, srv map[string]string }

func (t townNetwork) dial(ctx context.Context, network, address string) (net.Conn, error) {
	to, ok := t.hosts[address]
	if !ok {
		host, _, _ := net.SplitHostPort(address)
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return new(net.Dialer).DialContext(ctx, network, to)
}

func (t townNetwork) LookupSRV(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
	at, ok := t.srv[name]
	if !ok {
		return "", nil, &net.DNSError{Err: "no such record", Name: name, IsNotFound: true}
	}
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		return "", nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return name, []*net.SRV{{Target: host, Port: uint16(n)}}, err
}

// cmdAutodiscover sets what the stand-in says about where its services are.
func cmdAutodiscover(w *world, neg bool, args []string) {
	if neg {
		w.Fatalf("usage: autodiscover [ews=URL] [eas=URL] [only=json,xml,svc] [fault=NAME] [target=TEXT]")
	}
	var a exchangesim.Autodiscover
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "ews":
			a.EWS = value
		case "eas":
			a.EAS = value
		case "only":
			a.Only = strings.Split(value, ",")
		case "fault":
			a.Fault = value
		case "target":
			a.Target = value
		default:
			w.Fatalf("autodiscover: %q is not known", arg)
		}
	}
	w.Check(w.exchange.SetAutodiscover(a))
}

// cmdHosts puts names into the network of the program "townsman": NAME[:PORT] leads to the stand-in.
func cmdHosts(w *world, neg bool, args []string) {
	if neg {
		w.Fatalf("usage: hosts NAME[:PORT]...")
	}
	at := strings.TrimSuffix(strings.TrimPrefix(w.exchange.URL(), "https://"), exchangesim.Path)
	var list []string
	for _, name := range args {
		if !strings.Contains(name, ":") {
			name += ":443"
		}
		list = append(list, fmt.Sprintf("%s=%s", name, at))
	}
	w.Setenv("HOSTS", strings.Join(list, " "))
}
