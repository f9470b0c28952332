package edge

import (
	"net/netip"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/shutterfleet/shutterfleet/agent/inventory"
	"github.com/shutterfleet/shutterfleet/agent/store"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

// TestMACsOverRestart: what is known of a device's hardware is there for the next
// run, under the device's key alone.
func TestMACsOverRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	want := inventory.Hardware{MACs: []string{"ac:cc:8e:00:00:01"}, Places: []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("fe80::7%eth0")}}
	for run := range 2 {
		s, err := store.Open(path, store.Options{Codec: store.Codec{Append: wire.AppendCapture, Parse: wire.ParseCaptures}, Linger: -1})
		if err != nil {
			t.Fatal(err)
		}
		m := macs{s}
		if run == 0 {
			if err := m.Save("epr:a", want); err != nil {
				t.Error(err)
			}
		}
		if got, ok, err := m.Load("epr:a"); err != nil || !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("run %d: %+v, %v, %v, want %+v", run, got, ok, err, want)
		}
		if _, ok, err := m.Load("epr:b"); ok || err != nil {
			t.Errorf("of another device: %v, %v", ok, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
