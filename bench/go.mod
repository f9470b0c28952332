// The programs that measure peers in the same way as this project's own parts.
// They are a module of their own so that users of the project do not get the
// peers as dependencies.
module github.com/shutterfleet/shutterfleet/bench

go 1.26.0

replace github.com/shutterfleet/shutterfleet => ../

require (
	github.com/RussellLuo/timingwheel v0.0.0-20220218152713-54845bda3108
	github.com/antlabs/timer v0.1.4
	github.com/shutterfleet/shutterfleet v0.0.0-00010101000000-000000000000
)

require github.com/antlabs/stl v0.0.2 // indirect
