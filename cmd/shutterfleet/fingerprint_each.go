package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// maxInMemory bounds the files' data that is held at a time. The largest file
// there may be, with what it takes to read it, fits.
const maxInMemory = 2*maxFingerprintFile + firstLook

// pending is a file on its way.
type pending struct {
	place  int
	file   string
	size   int64
	before <-chan struct{} // closed when the file before it was judged
	judged chan struct{}
	out    chan fingerprinted // one, once it was read
}

// each reads files, several at a time, and calls emit for them in their order. It
// returns when all were read, emit fails or the command's context ends.
//
//	files ──in order, while memory and places are free──► readers ──in order──► emit
func (v *fingerprintVerb) each(cmd *cobra.Command, files []string, emit func(fingerprinted) error) error {
	g, ctx := errgroup.WithContext(cmd.Context())
	memory := semaphore.NewWeighted(maxInMemory)
	// Files that were read wait for those before them: so many, then readers wait.
	queue, work := make(chan *pending, 4*v.width), make(chan *pending)
	g.Go(func() error {
		defer close(queue)
		defer close(work)
		before := make(chan struct{})
		close(before)
		for i, file := range files {
			p := &pending{place: i, file: file, size: sizeOf(file), before: before, judged: make(chan struct{}), out: make(chan fingerprinted, 1)}
			before = p.judged
			// In order: a frame of a camera waits for those before it, which must
			// not wait for the memory that it has.
			if err := memory.Acquire(ctx, p.size); err != nil {
				return context.Cause(ctx)
			}
			for _, to := range []chan *pending{queue, work} {
				select {
				case to <- p:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
		}
		return nil
	})
	for range v.width {
		g.Go(func() error {
			for p := range work {
				p.out <- v.readPending(ctx, cmd, p)
				memory.Release(p.size)
				if v.camera { // the next one comes after all before it, whatever came of this one
					select {
					case <-p.before:
					case <-ctx.Done():
					}
				}
				close(p.judged)
			}
			return nil
		})
	}
	g.Go(func() error {
		for p := range queue {
			select {
			case x := <-p.out:
				if ctx.Err() != nil {
					return context.Cause(ctx) // it may have been interrupted
				}
				if err := emit(x); err != nil {
					return err
				}
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	return g.Wait()
}

func (v *fingerprintVerb) readPending(ctx context.Context, cmd *cobra.Command, p *pending) fingerprinted {
	var notes []string
	data, err := loadPicture(ctx, p.file, cmd.InOrStdin())
	var res *PictureReading
	if err == nil {
		res, err = v.read(ctx, data, v.judge.at(ctx, p), func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) })
	}
	out := told(p.file, res, err)
	out.notes = notes
	return out
}

// blockRows is how many rows of a table are held back to give their columns one
// width.
const blockRows = 256

// readingsPrinter prints readings as they come: JSON and YAML one by one, a table
// in blocks of rows.
type readingsPrinter struct {
	v    *fingerprintVerb
	cmd  *cobra.Command
	n    int
	rows int
	tab  *tabwriter.Writer
}

func (p *readingsPrinter) add(x fingerprinted) error {
	for _, note := range x.notes {
		p.cmd.PrintErrf("%s: %s\n", plain(x.File), plain(note))
	}
	p.n++
	if p.v.d.output == "table" {
		return p.addRows(x)
	}
	var b []byte
	var err error
	before := ",\n  "
	if p.v.d.output == "yaml" {
		before = ""
		// By way of JSON, so that both have the same keys and texts.
		if b, err = json.Marshal([]fingerprinted{x}); err == nil {
			b, err = yaml.JSONToYAML(b)
		}
	} else {
		b, err = json.MarshalIndent(x, "  ", "  ")
		if p.n == 1 {
			before = "[\n  "
		}
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.cmd.OutOrStdout(), "%s%s", before, b)
	return err
}

func (p *readingsPrinter) addRows(x fingerprinted) error {
	if x.Error != "" {
		p.cmd.PrintErrf("%s: %s\n", plain(x.File), plain(x.Error))
	}
	if x.PictureReading == nil {
		return nil
	}
	header, rows := "FILE\tSIZE\tCODEC\tVERDICT\tPDQ\tPDQ-QUALITY\tPHASH", [][]any{readingRow(x, p.v.camera)}
	if p.v.dihedral {
		header, rows = "FILE\tTRANSFORM\tPDQ\tPDQ-QUALITY", turnedRows(x)
	}
	if p.tab == nil {
		p.tab = tabwriter.NewWriter(p.cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(p.tab, header)
	}
	for _, row := range rows {
		var b bytes.Buffer
		for i, cell := range row {
			if i > 0 {
				b.WriteByte('\t')
			}
			b.WriteString(plain(cell))
		}
		b.WriteByte('\n')
		if _, err := p.tab.Write(b.Bytes()); err != nil {
			return err
		}
		if p.rows++; p.rows%blockRows == 0 {
			if err := p.tab.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func readingRow(x fingerprinted, camera bool) []any {
	row := []any{x.File, fmt.Sprintf("%dx%d", x.Width, x.Height), x.Codec, x.word(camera), "-", x.PDQQuality, "-"}
	if x.PDQ != (fleet.PDQ{}) {
		row[4], row[6] = x.PDQ, x.PHash
	}
	return row
}

// close ends what was printed, also when it was interrupted.
func (p *readingsPrinter) close() error {
	var err error
	switch out := p.cmd.OutOrStdout(); {
	case p.v.d.output == "table" && p.tab == nil:
		p.cmd.PrintErrln("no picture was read")
	case p.v.d.output == "table":
		err = p.tab.Flush()
	case p.v.d.output == "json" && p.n > 0:
		_, err = fmt.Fprintln(out, "\n]")
	case p.n == 0:
		_, err = fmt.Fprintln(out, "[]")
	}
	return err
}
