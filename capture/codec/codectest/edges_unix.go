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

// EachEdge calls f with planes of every width from least to 140 and some wider,
// with and without room behind their rows: each with nothing before its first
// sample, and with nothing behind its last.
func EachEdge(t testing.TB, least int, f func(codec.Plane)) {
	t.Helper()
	const most, rows = 1000, 66 // more rows than the 64 of a small picture
	e, noise := NewEdges(t, most*rows), Gen("noise", 64, 64)
	check := func(w, h, slack int) {
		p := Filled(w, h, w+slack, noise)
		for _, at := range [][]byte{e.First(len(p.Pix)), e.Last(len(p.Pix))} {
			copy(at, p.Pix)
			f(codec.Plane{Pix: at, Width: w, Height: h, Stride: p.Stride})
		}
	}
	for w := least; w <= 140; w++ {
		check(w, least+w%9, w%3)
		check(most-w, rows, 0)
	}
}
