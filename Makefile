# Shutterfleet's targets. `make` alone prints them.
GO      ?= go
BIN     := bin
TOOLS   := .tools
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)

MEDIAMTX      := v1.14.0
GO2RTC        := v1.9.13
GOLANGCI_LINT := v2.12.2
GOTESTSUM     := v1.13.0
GOVULNCHECK   := v1.1.4

# A test that fails is run once more, alone, if no more than three failed: one
# that then passes holds nobody up, but is printed as failed all the same, and is
# a bug to mend (CONTRIBUTING.md). A data race is never run again.
GOTEST = PATH="$$($(GO) env GOROOT)/bin:$$PATH" $(TOOLS)/gotestsum --format standard-quiet --rerun-fails=1 --rerun-fails-max-failures=3 --rerun-fails-run-root-test --rerun-fails-abort-on-data-race

# Whose tests speak to nobody but their own on the loopback interface: two at a time.
ALONE := ./capture/... ./fleet/... ./scheduler/... ./agent/store

# What the tests need beside Go, as program:Debian package.
TEST_PROGRAMS := ffmpeg:ffmpeg lighttpd:lighttpd avahi-daemon:avahi-daemon ip:iproute2 unshare:util-linux mkfs.ext4:e2fsprogs chromium:chromium gcc:gcc

# And what is no program, as file:Debian package.
TEST_FILES := /usr/include/stdio.h:libc6-dev /usr/lib/*/girepository-1.0/GUPnP-1.6.typelib:gir1.2-gupnp-1.6 /usr/lib/python3/dist-packages/gi:python3-gi

# The optional build with OpenCV 4.6 or later: gocv's own tags leave out what Debian's has not.
GOCV_TAGS     := gocv,gocv_specific_modules,gocv_videoio,gocv_contrib_img_hash
GOCV_PACKAGES := g++ pkg-config libopencv-dev libopencv-contrib-dev

# What the peers of the benches are built from, as Debian packages.
PEER_PACKAGES := gcc libc6-dev pkg-config libturbojpeg0-dev libavcodec-dev ffmpeg

.PHONY: help
help: ## print this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## watch a fleet of virtual cameras being found, enrolled and photographed (Ctrl-C ends it)
	@$(BIN)/shutterfleet dev

.PHONY: build
build: ## build the programs into bin/
	@mkdir -p $(BIN)
	@[ -d "$$($(GO) env GOCACHE)/00" ] || echo "building (the first time takes a few minutes)..."
	@CGO_ENABLED=0 $(GO) build -tags grpcnotrace -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/...

.PHONY: test
test: test-deps test-unit test-peers ## all tests but the long ones; installs what they need (Debian, root or sudo)

.PHONY: test-unit
test-unit: $(TOOLS)/gotestsum ## vet, then every package's tests under the race detector
	$(GO) vet ./...
	@$(GO) build -race ./... # with all processors
	$(GOTEST) --packages "$(ALONE)" -- -vet=off -race -p 2 -timeout 12m
	$(GOTEST) --packages "$$($(GO) list ./... | grep -vxF "$$($(GO) list $(ALONE))")" -- -vet=off -race -p 1 -timeout 12m # one after the other: discovery shares the loopback interface
	$(GOTEST) --packages ./cmd/internal/e2e -- -vet=off -count=1 -timeout 10m # real agents held to moments: without the race detector
	$(GOTEST) --packages "./cmd/internal/labelled ./capture/quality" -- -vet=off -count=1 -timeout 6m # so much drawing and reading, likewise
	$(GOTEST) --packages "./agent ./cmd/shutterfleet" -- -vet=off -count=1 -timeout 6m -run 'OfVirtualCameras|BenchQuality|FingerprintParity|EndlessNothing'
	cd bench && $(GO) test ./...

.PHONY: test-peers
test-peers: test-deps build $(TOOLS)/gotestsum $(TOOLS)/mediamtx $(TOOLS)/go2rtc $(TOOLS)/wsdd ## capture from servers that this project did not write
	SHUTTERFLEET_BIN=$(CURDIR)/$(BIN) SHUTTERFLEET_PEERS=$(CURDIR)/$(TOOLS) $(GOTEST) --packages ./test/peers/ -- -tags peers -count=1 -timeout 10m

.PHONY: test-gocv
test-gocv: test-deps $(TOOLS)/gotestsum ## build and test what decodes and compares with OpenCV; installs it (216 packages; about 5 minutes the first time)
	@pkg-config --exists opencv4 2>/dev/null && [ -e /usr/include/opencv4/opencv2/img_hash.hpp ] && command -v $(CXX) >/dev/null || { \
	  command -v apt-get >/dev/null || { echo "please install a C++ compiler, pkg-config, and OpenCV 4.6 with its contributed modules"; exit 1; }; \
	  sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; echo "installing $(GOCV_PACKAGES)"; \
	  { $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(GOCV_PACKAGES); } >/tmp/shutterfleet-apt.log 2>&1 \
	    || { cat /tmp/shutterfleet-apt.log; exit 1; }; }
	CGO_ENABLED=1 $(GO) vet -tags $(GOCV_TAGS) ./capture/...
	CGO_ENABLED=1 $(GO) build -tags $(GOCV_TAGS) -o /dev/null ./cmd/shutterfleet
	CGO_ENABLED=1 $(GO) build -tags $(GOCV_TAGS) -o /dev/null ./cmd/shutterfleet-agent
	CGO_ENABLED=1 $(GOTEST) --packages ./capture/... -- -tags $(GOCV_TAGS) -timeout 10m

.PHONY: test-long
test-long: test-deps test-gocv test-arm64 build ## sweeps, kill runs, heavy peers, OpenCV, arm64, 32 bit (under 40 minutes)
	GOARCH=arm CGO_ENABLED=0 $(GO) vet ./capture/... ./cmd/... # 32-bit edge boxes: an int holds half as much
	$(GOTEST) --packages ./... -- -tags long -p 1 -count=1 -timeout 38m -run Long

# Left out: a limit of memory, which qemu does not pass on to the processes of its
# host, and parsers that are held to a time.
.PHONY: test-arm64
test-arm64: $(TOOLS)/gotestsum ## what is computed from a frame, and when, as edge boxes with arm64 do it (under qemu; 2 minutes)
	@$(MAKE) --no-print-directory test-deps TEST_PROGRAMS="ffmpeg:ffmpeg qemu-aarch64-static:qemu-user-static" TEST_FILES=
	GOARCH=arm64 CGO_ENABLED=0 $(GOTEST) --packages "./capture/... ./fleet ./fleet/portable ./fleet/calendar ./fleet/wire" -- -exec qemu-aarch64-static -timeout 10m -skip TestMemoryIsLimited

.PHONY: count-arm64
count-arm64: ## how many instructions scoring and hashing a frame takes on arm64, in plain Go and in NEON (under qemu)
	@$(MAKE) --no-print-directory test-deps TEST_PROGRAMS="qemu-aarch64:qemu-user gcc:gcc" TEST_FILES=/usr/include/stdio.h:libc6-dev
	@GO="$(GO)" CC=gcc test/arm64/count.sh

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (default 20s) each
	@set -e; for p in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -rhoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' $$p/*_test.go | awk '{print $$2}'); do \
	    echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $${FUZZTIME:-20s} $$p; done; done

.PHONY: bench
bench: ## run the benchmarks, ten times each, for benchstat
	$(GO) test -run '^$$' -bench . -benchmem -count 10 ./...

.PHONY: bench-peers
bench-peers: ## build what `shutterfleet bench` compares with into bin/, from the module in bench/
	@pkg-config --exists libturbojpeg libavcodec 2>/dev/null && command -v ffmpeg >/dev/null && command -v $(CC) >/dev/null || { \
	  command -v apt-get >/dev/null || { echo "some peers will be missing: install a C compiler, pkg-config, ffmpeg and the development files of libturbojpeg and libavcodec"; exit 0; }; \
	  sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; echo "installing $(PEER_PACKAGES)"; \
	  { $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(PEER_PACKAGES); } >/tmp/shutterfleet-apt.log 2>&1 \
	    || { cat /tmp/shutterfleet-apt.log; exit 1; }; }
	@$(MAKE) --no-print-directory -C bench GO="$(GO)"

.PHONY: lint
lint: $(TOOLS)/golangci-lint ## golangci-lint with the list of .golangci.yml
	$(TOOLS)/golangci-lint run ./...

.PHONY: vuln
vuln: ## govulncheck, where its database can be reached
	@$(GO) run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK) ./... || \
	  { echo "govulncheck did not finish: either it found something (above), or its database cannot be reached from here"; exit 1; }

.PHONY: generate
generate: ## write the generated code again (needs protoc, protoc-gen-go, protoc-gen-go-grpc)
	$(GO) generate ./fleet/wire

.PHONY: clean
clean: ## remove what the targets made
	rm -rf $(BIN) $(TOOLS)

# Installs the missing programs, and only those.
.PHONY: test-deps
test-deps:
	@missing=""; for p in $(TEST_PROGRAMS); do \
	  command -v $${p%%:*} >/dev/null 2>&1 || [ -x /usr/sbin/$${p%%:*} ] || missing="$$missing $${p##*:}"; done; \
	for f in $(TEST_FILES); do ls -d $${f%%:*} >/dev/null 2>&1 || missing="$$missing $${f##*:}"; done; \
	if [ -n "$$missing" ]; then \
	  command -v apt-get >/dev/null || { echo "please install:$$missing"; exit 1; }; \
	  sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  echo "installing$$missing"; \
	  { $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $$missing; } >/tmp/shutterfleet-apt.log 2>&1 \
	    || { cat /tmp/shutterfleet-apt.log; exit 1; }; \
	fi

$(TOOLS)/golangci-lint:
	@mkdir -p $(TOOLS)
	GOBIN=$(CURDIR)/$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT)

$(TOOLS)/gotestsum:
	@mkdir -p $(TOOLS)
	GOBIN=$(CURDIR)/$(TOOLS) $(GO) install gotest.tools/gotestsum@$(GOTESTSUM)

# The peers are built from their modules at exact versions, each in a copy of
# its source: installing them by path would ask for version lists.
define unpack
@mkdir -p $(TOOLS) && rm -rf $(TOOLS)/$(1)-src
@cp -r "$$(cd / && $(GO) mod download -json $(2) | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')" $(TOOLS)/$(1)-src
@chmod -R u+w $(TOOLS)/$(1)-src
endef

# Taken out of its package: installed, it would tell the LAN of this machine.
$(TOOLS)/wsdd:
	@mkdir -p $(TOOLS)/wsdd-deb
	cd $(TOOLS)/wsdd-deb && { apt-get download -qq wsdd 2>/dev/null || \
	  { sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; $$sudo apt-get update -qq && apt-get download -qq wsdd; }; } && dpkg -x wsdd_*.deb . && cp usr/sbin/wsdd ../wsdd
	@rm -rf $(TOOLS)/wsdd-deb

$(TOOLS)/go2rtc:
	$(call unpack,go2rtc,github.com/AlexxIT/go2rtc@$(GO2RTC))
	cd $(TOOLS)/go2rtc-src && CGO_ENABLED=0 $(GO) build -o ../go2rtc .
	@rm -rf $(TOOLS)/go2rtc-src

# The module of mediamtx lacks two files that its own build generates.
$(TOOLS)/mediamtx:
	$(call unpack,mediamtx,github.com/bluenviron/mediamtx@$(MEDIAMTX))
	@echo $(MEDIAMTX) >$(TOOLS)/mediamtx-src/internal/core/VERSION
	@: >$(TOOLS)/mediamtx-src/internal/servers/hls/hls.min.js
	cd $(TOOLS)/mediamtx-src && CGO_ENABLED=0 $(GO) build -o ../mediamtx .
	@rm -rf $(TOOLS)/mediamtx-src
