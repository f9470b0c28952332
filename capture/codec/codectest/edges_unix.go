//go:build unix

package codectest

import (
	"os"
	"syscall"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

// Edges is memory with none before it and none behind it: whoever reads or writes
// one byte beside a plane that lies at an edge ends the test. Loops in assembler
// are held to their bounds by nothing else.
type Edges struct{ b []byte }

// NewEdges takes memory for planes of at most n bytes. It is given back when the
// test ends.
func NewEdges(t testing.TB, n int) Edges {
	t.Helper()
	page := os.Getpagesize()
	size := (n + page - 1) / page * page
	all, err := syscall.Mmap(-1, 0, size+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(all); err != nil {
			t.Error(err)
		}
	})
	for _, guard := range [][]byte{all[:page], all[page+size:]} {
		if err := syscall.Mprotect(guard, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	return Edges{all[page : page+size : page+size]}
}

// First returns the first n bytes, which have nothing before them.
func (e Edges) First(n int) []byte { return e.b[:n:n] }

// Last returns the last n bytes, which have nothing behind them.
func (e Edges) Last(n int) []byte { return e.b[len(e.b)-n:] }

// Planes calls f with p, whose rows end where its samples end, at either edge.
func (e Edges) Planes(p codec.Plane, f func(codec.Plane)) {
	n := (p.Height-1)*p.Stride + p.Width
	for _, at := range [][]byte{e.First(n), e.Last(n)} {
		copy(at, p.Pix)
		q := p
		q.Pix = at
		f(q)
	}
}
