package main

import (
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/galsyncd/galsyncd/internal/exchangesim"
	"github.com/galsyncd/galsyncd/internal/interop"
)

// password of the account of the stand-in, written to exchange-password.
const password = "a password of the tests"

// cmdExchange starts and stops the stand-in. Start writes exchange-ca.pem, exchange-password, smime-ca.pem, and
// ids/NAME.crt and ids/NAME.key of the people at fixed addresses.
func cmdExchange(w *world, neg bool, args []string) {
	if neg || len(args) == 0 {
		w.Fatalf("usage: exchange start|again|stop|wipe|policy [OPTION...]")
	}
	switch args[0] {
	case "start":
		w.options = exchangeOptions(w, args[1:])
	case "again":
		w.options.Listen = strings.TrimPrefix(strings.TrimSuffix(w.exchange.URL(), exchangesim.Path), "https://")
		w.options.Listen = strings.TrimPrefix(w.options.Listen, "http://")
	case "stop":
		w.Check(w.exchange.Close())
		return
	case "wipe": // orders every ActiveSync device to forget its data
		w.exchange.WipeDevices()
		return
	case "policy": // changes the ActiveSync policy
		w.exchange.ChangePolicy()
		return
	default:
		w.Fatalf("exchange %s: not one of start, again, stop", args[0])
	}
	server, err := exchangesim.New(w.options)
	w.Check(err)
	w.Check(server.Start())
	w.exchange, w.before = server, exchangesim.Requests{}
	w.Setenv("EXCHANGE", server.URL())
	w.writeCertificate("exchange-ca.pem", server.TLSCA())
	w.writeCertificate("smime-ca.pem", server.SMIMECA())
	w.Check(os.WriteFile(w.MkAbs("exchange-password"), []byte(password+"\n"), 0o600))
	w.writeIdentities()
}

func exchangeOptions(w *world, args []string) exchangesim.Options {
	o := exchangesim.Options{User: `CORP\svc-galsync`, Password: password}
	f := flag.NewFlagSet("exchange start", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.IntVar(&o.Entries, "entries", 0, "")
	f.IntVar(&o.Contacts, "contacts", 0, "")
	f.DurationVar(&o.Latency, "latency", 0, "")
	f.StringVar(&o.UserAgent, "only-agent", "", "")
	f.BoolVar(&o.Plain, "plain", false, "")
	f.BoolVar(&o.ActiveSync.Policy, "policy", false, "")
	f.BoolVar(&o.ActiveSync.AllContacts, "all-contacts", false, "")
	f.BoolVar(&o.RequireChannelBinding, "require-channel-binding", false, "")
	auth := f.String("auth", "none", "")
	f.Func("names", "", func(s string) error { o.Names = strings.Split(s, ","); return nil })
	w.Check(f.Parse(args))
	o.Seed, o.Auth, o.Listen = 1, exchangesim.Auth(*auth), w.freeAddress()
	return o
}

// freeAddress is a place for a server that stops and comes back there: nobody else is given it in between.
func (w *world) freeAddress() string {
	port, err := interop.FreePort()
	w.Check(err)
	return "127.0.0.1:" + port
}

func (w *world) writeCertificate(name string, c *x509.Certificate) {
	w.Check(os.WriteFile(w.MkAbs(name), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}), 0o644))
}

func (w *world) writeIdentities() {
	w.Check(os.MkdirAll(w.MkAbs("ids"), 0o755))
	for name, address := range exchangesim.Identities() {
		cert, key, err := w.exchange.Identity(address)
		w.Check(err)
		w.writeCertificate("ids/"+name+".crt", cert)
		der, err := x509.MarshalPKCS8PrivateKey(key)
		w.Check(err)
		w.Check(os.WriteFile(w.MkAbs("ids/"+name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	}
}

// cmdFault spoils the answers of the stand-in.
func cmdFault(w *world, neg bool, args []string) {
	if neg || len(args) == 0 {
		w.Fatalf("usage: fault KIND [OPTION...] | fault clear")
	}
	if args[0] == "clear" {
		w.exchange.ClearFaults()
		return
	}
	kind, err := exchangesim.ParseFault(args[0])
	w.Check(err)
	fault := exchangesim.Fault{Kind: kind}
	f := flag.NewFlagSet("fault", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.IntVar(&fault.Skip, "skip", 0, "")
	f.IntVar(&fault.Requests, "requests", 0, "")
	f.DurationVar(&fault.RetryAfter, "retry-after", 0, "")
	f.StringVar(&fault.Operation, "operation", "", "")
	w.Check(f.Parse(args[1:]))
	w.exchange.Fault(fault)
}

// cmdPeople changes the address book.
func cmdPeople(w *world, neg bool, args []string) {
	if neg || len(args) < 2 {
		w.Fatalf("usage: people add|remove|recipe|certificate|keep|hide ...")
	}
	d := w.exchange.Directory()
	switch args[0] {
	case "add": // ADDRESS NAME
		given, surname, _ := strings.Cut(args[2], " ")
		w.Check(d.Add(exchangesim.Person{Primary: args[1], DisplayName: args[2], GivenName: given, Surname: surname, Recipe: exchangesim.Usable}))
	case "remove": // ADDRESS...
		for _, address := range args[1:] {
			w.Check(d.Remove(address))
		}
	case "recipe": // ADDRESS RECIPE
		w.Check(d.SetRecipe(args[1], w.recipe(args[2])))
	case "certificate": // ADDRESS FILE, in DER
		w.Check(d.ReplaceCertificates(args[1], [][]byte{[]byte(w.ReadFile(args[2]))}, nil))
	case "keep": // NUMBER
		n, err := strconv.Atoi(args[1])
		w.Check(err)
		for _, p := range d.People()[n:] {
			w.Check(d.Remove(p.Primary))
		}
	case "hide": // SHARE
		share, err := strconv.ParseFloat(args[1], 64)
		w.Check(err)
		d.HideCertificates(share)
	default:
		w.Fatalf("people %s: not known", args[0])
	}
}

// cmdContacts changes the personal contacts of the account.
func cmdContacts(w *world, neg bool, args []string) {
	if neg || len(args) == 0 {
		w.Fatalf("usage: contacts add|remove|recipe|unreadable|clear ...")
	}
	c := w.exchange.Contacts()
	switch args[0] {
	case "add": // ADDRESS NAME RECIPE
		given, surname, _ := strings.Cut(args[2], " ")
		c.Add(exchangesim.Person{Primary: args[1], DisplayName: args[2], GivenName: given, Surname: surname, Recipe: w.recipe(args[3]),
			Encoding: exchangesim.Settings, Property: exchangesim.InSMIME})
	case "remove": // ADDRESS...
		for _, address := range args[1:] {
			w.Check(c.Remove(address))
		}
	case "recipe": // ADDRESS RECIPE
		w.Check(c.SetRecipe(args[1], w.recipe(args[2])))
	case "unreadable": // ADDRESS CODE
		w.Check(c.SetUnreadable(args[1], args[2]))
	case "clear":
		c.Clear()
	default:
		w.Fatalf("contacts %s: not known", args[0])
	}
}

// recipe reads the name of a recipe.
func (w *world) recipe(name string) exchangesim.Recipe {
	recipe, ok := map[string]exchangesim.Recipe{"none": exchangesim.None, "usable": exchangesim.Usable, "expired": exchangesim.Expired, "renewed": exchangesim.Renewed,
		"untrusted": exchangesim.UntrustedIssuer}[name]
	if !ok {
		w.Fatalf("unknown recipe %q", name)
	}
	return recipe
}

// cmdRequests compares how often the stand-in was asked since the last "requests reset".
func cmdRequests(w *world, neg bool, args []string) {
	now := w.exchange.Requests()
	if len(args) == 1 && args[0] == "reset" {
		w.before = now
		return
	}
	if neg || len(args) != 3 {
		w.Fatalf("usage: requests COUNTER OP NUMBER | requests reset")
	}
	commands := w.exchange.Commands()
	counters := map[string]int64{"activesync-resolve": int64(commands["ResolveRecipients"]), "activesync-provision": int64(commands["Provision"]), "http": now.HTTP - w.before.HTTP, "unauthorized": now.Unauthorized - w.before.Unauthorized,
		"resolve": now.ResolveNames - w.before.ResolveNames, "faults": now.Faults - w.before.Faults,
		"find": now.FindItem - w.before.FindItem, "get": now.GetItem - w.before.GetItem}
	got, ok := counters[args[0]]
	if !ok {
		w.Fatalf("unknown counter %q", args[0])
	}
	w.compare(args[0], float64(got), args[1], args[2])
}

// compare wants "got OP want" to hold.
func (w *world) compare(what string, got float64, op, text string) {
	want, err := strconv.ParseFloat(text, 64)
	w.Check(err)
	ok, known := map[string]bool{"==": got == want, "!=": got != want, "<": got < want, "<=": got <= want, ">": got > want, ">=": got >= want}[op]
	if !known {
		w.Fatalf("unknown comparison %q", op)
	}
	if !ok {
		w.Fatalf("%s is %s, not %s %s", what, strconv.FormatFloat(got, 'f', -1, 64), op, text)
	}
}

// cmdConfigure writes a configuration for the stand-in; KEY=TOML changes or adds keys, KEY= leaves one out.
func cmdConfigure(w *world, neg bool, args []string) {
	if neg || len(args) == 0 {
		w.Fatalf("usage: configure FILE [KEY=TOML...]")
	}
	url := w.Getenv("EXCHANGE")
	if slices.Contains(args, `exchange.protocol="eas"`) {
		url = strings.TrimSuffix(url, exchangesim.Path) + exchangesim.ActiveSyncPath
	}
	quote := func(name string) string { return strconv.Quote(w.MkAbs(name)) }
	keys := []string{"exchange.url", "exchange.ca_file", "exchange.auth.method", "sync.schedule", "sync.jitter", "sync.requests_per_second",
		"cache.dir", "socket.path", "trust.anchors"}
	values := map[string]string{
		"exchange.url": strconv.Quote(url), "exchange.ca_file": quote("exchange-ca.pem"),
		"exchange.auth.method": strconv.Quote(string(w.options.Auth)), "sync.schedule": `""`, "sync.jitter": `"0s"`,
		"sync.requests_per_second": "1000", "cache.dir": quote("cache"), "socket.path": strconv.Quote(w.Getenv("SOCKET")),
		"trust.anchors": "[" + quote("smime-ca.pem") + "]",
	}
	if w.options.Auth != exchangesim.AuthNone && w.options.Auth != "" {
		keys = append(keys, "exchange.auth.username", "exchange.auth.password_file")
		values["exchange.auth.username"], values["exchange.auth.password_file"] = "'"+w.options.User+"'", `"exchange-password"`
	}
	for _, arg := range args[1:] {
		key, value, ok := strings.Cut(arg, "=")
		if !ok {
			w.Fatalf("%q is not KEY=TOML", arg)
		}
		if _, known := values[key]; !known {
			keys = append(keys, key)
		}
		values[key] = value
	}
	var b strings.Builder
	for _, key := range keys {
		if values[key] != "" {
			fmt.Fprintf(&b, "%s = %s\n", key, values[key])
		}
	}
	w.Check(os.WriteFile(w.MkAbs(args[0]), []byte(b.String()), 0o644))
}
