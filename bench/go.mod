// The programs that measure peers in the same way as this project's own parts.
// They are a module of their own so that users of the project do not get the
// peers as dependencies.
module github.com/shutterfleet/shutterfleet/bench

go 1.26.0

replace github.com/shutterfleet/shutterfleet => ../

replace github.com/google/pprof => github.com/google/pprof v0.0.0-20250317173921-a4b03ec1a45e

// use-go/onvif compiles with this version only.
replace github.com/elgs/gostrgen => github.com/elgs/gostrgen v0.0.0-20161222160715-9d61ae07eeae

require (
	github.com/AlexxIT/go2rtc v1.9.13
	github.com/RussellLuo/timingwheel v0.0.0-20220218152713-54845bda3108
	github.com/antlabs/timer v0.1.4
	github.com/hashicorp/mdns v1.0.7
	github.com/huin/goupnp v1.3.0
	github.com/shutterfleet/shutterfleet v0.0.0-00010101000000-000000000000
	github.com/use-go/onvif v0.0.9
)

require (
	github.com/antlabs/stl v0.0.2 // indirect
	github.com/beevik/etree v1.1.0 // indirect
	github.com/elgs/gostrgen v0.0.0-20161222160715-9d61ae07eeae // indirect
	github.com/gofrs/uuid v3.2.0+incompatible // indirect
	github.com/juju/errors v0.0.0-20220331221717-b38fca44723b // indirect
	github.com/miekg/dns v1.1.73 // indirect
	github.com/pion/randutil v0.1.0 // indirect
	github.com/pion/rtp v1.10.6 // indirect
	github.com/pion/sdp/v3 v3.0.16 // indirect
	github.com/rogpeppe/go-internal v1.16.0 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
