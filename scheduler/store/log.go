package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Fold takes in, in order, what happened to orders: Replay calls it. A nil
// function is left out.
type Fold struct {
	Books   func(fleet.SiteID, fleet.Books)       // as of the checkpoint
	Issue   func(Flight)                          // a new order
	Assign  func(fleet.Occurrence, fleet.AgentID) // it belongs to another agent now
	Drop    func(fleet.Occurrence)                // it was taken back
	Repeat  func(fleet.SiteID, uint64)            // outcomes that were reported again
	Outcome func(*fleet.Capture)                  // the order, if there was one, has ended
}

// The kinds of log records.
const (
	logName   = 'N' // a text: agents and sites are numbered in order of appearance
	logIssue  = 'I'
	logAssign = 'A'
	logDrop   = 'D'
	logRepeat = 'R'
)

// logWriter packs log records: about 20 bytes an order.
type logWriter struct {
	b     []byte
	names map[string]uint64
	base  fleet.Instant // nominal times are written as distances to the one before
}

func (w *logWriter) name(n string) uint64 {
	if n == "" {
		return 0
	}
	if i, ok := w.names[n]; ok {
		return i
	}
	if w.names == nil {
		w.names = map[string]uint64{}
	}
	w.names[n] = uint64(len(w.names) + 1)
	w.b = append(w.b, logName)
	w.b = append(binary.AppendUvarint(w.b, uint64(len(n))), n...)
	return w.names[n]
}

func (w *logWriter) occurrence(o fleet.Occurrence) {
	w.b = binary.BigEndian.AppendUint64(w.b, uint64(o.Camera))
	w.b = binary.BigEndian.AppendUint64(w.b, uint64(o.Schedule))
	w.b = binary.AppendVarint(w.b, int64(o.Nominal-w.base))
	w.base = o.Nominal
}

func (w *logWriter) issue(f *Flight) {
	agent := w.name(string(f.Agent))
	w.b = append(w.b, logIssue)
	w.occurrence(f.Occurrence)
	w.b = binary.AppendVarint(w.b, int64(f.Deadline-f.Nominal))
	w.b = binary.AppendUvarint(w.b, uint64(f.Start()-f.Nominal))
	w.b = binary.AppendUvarint(w.b, agent)
}

func (w *logWriter) assign(f *Flight) {
	agent := w.name(string(f.Agent))
	w.b = append(w.b, logAssign)
	w.occurrence(f.Occurrence)
	w.b = binary.AppendUvarint(w.b, agent)
}

func (w *logWriter) drop(o fleet.Occurrence) {
	w.b = append(w.b, logDrop)
	w.occurrence(o)
}

func (w *logWriter) repeat(site fleet.SiteID, n uint64) {
	at := w.name(string(site))
	w.b = append(w.b, logRepeat)
	w.b = binary.AppendUvarint(w.b, at)
	w.b = binary.AppendUvarint(w.b, n)
}

var errLog = errors.New("damaged log of orders")

// read folds one body of records.
func (f *Fold) read(b []byte) error {
	names := []string{""}
	var base fleet.Instant
	in := cursor{b: b}
	name := func() string {
		n := in.uvarint()
		if n >= uint64(len(names)) {
			in.fail()
			return ""
		}
		return names[n]
	}
	occurrence := func() fleet.Occurrence {
		o := fleet.Occurrence{Camera: fleet.CameraID(in.uint64()), Schedule: fleet.ScheduleID(in.uint64())}
		base += fleet.Instant(in.varint())
		o.Nominal = base
		return o
	}
	for len(in.b) > 0 {
		kind := in.b[0]
		in.b = in.b[1:]
		switch kind {
		case logName:
			names = append(names, string(in.raw()))
		case logIssue:
			var v Flight
			v.Occurrence = occurrence()
			v.Deadline = v.Nominal + fleet.Instant(in.varint())
			if later := fleet.Instant(in.uvarint()); later > 0 {
				v.NotBefore = v.Nominal + later
			}
			v.Agent = fleet.AgentID(name())
			if f.Issue != nil && !in.bad {
				f.Issue(v)
			}
		case logAssign:
			o, agent := occurrence(), fleet.AgentID(name())
			if f.Assign != nil && !in.bad {
				f.Assign(o, agent)
			}
		case logDrop:
			o := occurrence()
			if f.Drop != nil && !in.bad {
				f.Drop(o)
			}
		case logRepeat:
			site, n := fleet.SiteID(name()), in.uvarint()
			if f.Repeat != nil && !in.bad {
				f.Repeat(site, n)
			}
		default:
			return fmt.Errorf("%w: record kind %d", errLog, kind)
		}
	}
	if in.bad {
		return errLog
	}
	return nil
}
