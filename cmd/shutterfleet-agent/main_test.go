package main

import (
	"io"
	"strings"
	"testing"
)

// TestSubnetFlags: what cannot be searched is refused before anything starts,
// with what to write instead.
func TestSubnetFlags(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--subnet", "10.0.0.0/8"}, "at most a /16"},
		{[]string{"--subnet", "2001:db8::/64"}, "at most a /112"},
		{[]string{"--subnet", "10.2.0.0/24", "--subnet", "yard"}, "for example 10.2.0.0/24"},
		{[]string{"--subnet", "10.2.0.9/24"}, "10.2.0.0/24 is the subnet"},
		{[]string{"--subnet", "10.2.0.0/24", "--sweep-rate", "5000"}, "choose 1 to 1000"},
		{[]string{"--subnet", "10.2.0.0/24", "--no-discovery"}, "give one of them"},
		{[]string{"--sweep-rate", "5"}, "list one"},
		{[]string{"--sweep-ports"}, "list one"},
	} {
		r := root(io.Discard, io.Discard)
		r.SetErr(io.Discard)
		r.SetArgs(append([]string{"run", "--data", t.TempDir(), "--server", "127.0.0.1:1", "--machine-listen", ""}, c.args...))
		if err := r.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("run %v = %v, want an error with %q", c.args, err, c.want)
		}
	}
}
