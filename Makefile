# Targets: demo, test, interop, interop-doc, fetch, fuzz, bench, timing, generate, install. README.md says what each is for.
GO         ?= go
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS     = -X main.version=$(VERSION)
PREFIX     ?= /usr/local
FUZZTIME   ?= 1m

.PHONY: all build demo test gates fetch interop interop-doc fuzz bench timing generate install clean

all: build

build:
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/galsyncd ./cmd/galsyncd
	$(GO) build -trimpath -o bin/exchangesim ./cmd/exchangesim

# What was built is installed as it is, so that root needs no Go.
bin/galsyncd:
	@$(MAKE) --no-print-directory build

demo: build
	@scripts/demo bin $(PROTOCOL)

# The time limits of test and interop are for a test that hangs, not for a slow machine: ten times slower must pass.
test:
	@scripts/peers openssl gpgsm nss xmllint curl mandoc pinentry-curses
	@$(MAKE) --no-print-directory gates
	$(GO) test -race -timeout 40m ./...

# The quality gates: each prints what is wrong and fails.
gates:
	@out=$$(gofmt -l .); test -z "$$out" || { echo "gofmt would change:"; echo "$$out"; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) mod tidy -diff || { sleep 10; $(GO) mod tidy -diff; }
	@$(MAKE) --no-print-directory generate >/dev/null
	@git diff --exit-code --stat -- man || { echo "generated files were not current; commit them"; exit 1; }
	@if command -v mandoc >/dev/null; then mandoc -T lint -W warning man/*.[1-8]; fi

# What the tests need of the network, beside the peers.
fetch:
	$(GO) mod download
	$(GO) run $(STATICCHECK) -version

# Heavier peers, or only those that are named: make interop PEERS="bouncycastle openssl". Each is a tagged test that installs
# nothing by itself.
MAILPEERS   = openssl gpgsm nss bouncycastle
AUTHPEERS   = krb5 apache gssapi
SYNCPEERS   = horde slapd
PEERS      ?= $(MAILPEERS) $(AUTHPEERS) $(SYNCPEERS)
INTEROP     = $(if $(filter $(MAILPEERS),$(PEERS)),./cms/... ./smime/... ./internal/keyring/...) $(if $(filter $(AUTHPEERS),$(PEERS)),./internal/httpauth/...) \
	$(if $(filter $(SYNCPEERS),$(PEERS)),./internal/horde/... ./eas/... ./internal/autodiscover/... ./cmd/galsyncd/...)

interop:
	@scripts/peers $(PEERS)
	$(GO) test -count=1 -timeout 40m -tags interop -run 'Interop' $(INTEROP)

# Measures the tables of docs/interop.md and docs/fips.md again.
interop-doc:
	@scripts/peers $(MAILPEERS)
	GALSYNCD_INTEROP_DOC=docs/interop.md GALSYNCD_FIPS_DOC=docs/fips.md \
		$(GO) test -count=1 -timeout 10m -tags interop -run '^(TestInteropDocument|TestFIPS)$$' ./cms

# Every fuzz target of the module, FUZZTIME each.
fuzz:
	@scripts/fuzz $(FUZZTIME)

bench: build
	@scripts/bench bin

# Measures docs/timing.md again; needs a quiet machine.
timing:
	GALSYNCD_TIMING=10500 GALSYNCD_TIMING_DOC=$(CURDIR)/docs/timing.md $(GO) test -count=1 -timeout 30m -run '^TestFailureTiming$$' -v ./internal/daemon

generate:
	$(GO) run ./cmd/galsyncd docs man

# The units name the program where it is installed.
unit = sed 's|/usr/local/bin|$(PREFIX)/bin|' $(1) | install -D -m 0644 /dev/stdin $(2)
completion = bin/galsyncd completion $(1) | install -D -m 0644 /dev/stdin $(2)

install: bin/galsyncd
	install -D -m 0755 bin/galsyncd $(DESTDIR)$(PREFIX)/bin/galsyncd
	$(call unit,systemd/galsyncd.service,$(DESTDIR)$(PREFIX)/lib/systemd/system/galsyncd.service)
	$(call unit,systemd/user/galsyncd.service,$(DESTDIR)$(PREFIX)/lib/systemd/user/galsyncd.service)
	install -D -m 0644 systemd/galsyncd.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/galsyncd.conf
	$(call completion,bash,$(DESTDIR)$(PREFIX)/share/bash-completion/completions/galsyncd)
	$(call completion,zsh,$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_galsyncd)
	$(call completion,fish,$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/galsyncd.fish)
	for page in man/*.[1-8]; do install -D -m 0644 $$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/} || exit 1; done

clean:
	rm -rf bin
