package httpcam

import (
	"bytes"
	"encoding/binary"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// scanner finds one complete JPEG in a stream of bytes, whatever stands around
// it: part headers, boundaries that are wrong, lengths that are missing. It
// walks the marker segments, because an EXIF thumbnail holds an end of image of
// its own.
//
//	seek ──SOI──► marker ──SOS──► coded ──EOI──► done
//	  ▲              │ length, skip ▲ │ other marker
//	  └──nonsense────┘              └─┘
type scanner struct {
	limit int    // of the picture, and twice that of the bytes looked at
	image []byte // what was kept of the picture so far

	state  scanState
	last   byte // the byte before, in seek
	marker byte // whose length is read
	length int
	skip   int
	seen   int64
	tables bool // a DHT came before the first SOS
	scans  int  // of this picture
	starts int  // pictures begun

	lost    []byte // to be looked at again
	rescans int
}

type scanState uint8

const (
	seek      scanState = iota // for FF D8
	wantFF                     // a marker's first byte
	wantCode                   // its second
	wantHigh                   // of its length
	wantLow                    // of its length
	skipBytes                  // its content
	coded                      // entropy-coded data
	codedFF                    // an FF in it
	complete
)

// The markers that matter (ITU-T T.81, table B.1).
const (
	markSOI = 0xd8
	markEOI = 0xd9
	markSOS = 0xda
	markDHT = 0xc4
)

// feed takes the next bytes, and reports whether the picture is complete; bytes
// behind its end are left.
func (s *scanner) feed(p []byte) (done bool, err error) {
	for i := 0; i < len(p); i++ {
		if s.state == complete {
			return true, nil
		}
		// Long runs are taken at once: a byte at a time costs ten times as much.
		n := 1
		switch s.state {
		case skipBytes:
			n = min(s.skip, len(p)-i)
		case coded:
			if n = bytes.IndexByte(p[i:], 0xff); n < 0 {
				n = len(p) - i
			} else if n == 0 {
				n = 1
			}
		case seek:
			if s.last == 0xff {
				break
			}
			if n = bytes.IndexByte(p[i:], 0xff); n < 0 {
				n = len(p) - i
			} else if n == 0 {
				n = 1
			}
		}
		s.seen += int64(n)
		if s.state != seek {
			if len(s.image)+n > s.limit {
				return false, fleet.Errorf(fleet.CauseTooLarge, "a picture longer than its limit of %d bytes", s.limit)
			}
			s.image = append(grow(s.image, n, s.limit), p[i:i+n]...)
		} else if s.seen > 2*int64(s.limit) {
			return false, fleet.Errorf(fleet.CauseTooLarge, "no complete JPEG in %d bytes (%d began)", s.seen, s.starts)
		}
		i += n - 1
		if s.step(p[i], n); s.lost != nil {
			again := s.lost
			s.lost = nil
			if done, err := s.feed(again); done || err != nil {
				return done, err
			}
		}
	}
	return s.state == complete, nil
}

// grow makes room for n more bytes. It doubles up to the limit, so that all
// memory ever taken for a picture is twice the limit at most; append's own
// steps would add up to five times.
func grow(b []byte, n, limit int) []byte {
	if len(b)+n <= cap(b) {
		return b
	}
	out := make([]byte, len(b), max(min(max(2*cap(b), 32<<10), limit), len(b)+n))
	copy(out, b)
	return out
}

// step moves on by n bytes, of which c is the last.
func (s *scanner) step(c byte, n int) {
	switch s.state {
	case seek:
		if s.last == 0xff && c == markSOI && n == 1 {
			s.begin()
			return
		}
		s.last = c
	case wantFF:
		if s.state = wantCode; c != 0xff {
			s.lose(c)
		}
	case wantCode:
		s.code(c)
	case wantHigh:
		s.length, s.state = int(c)<<8, wantLow
	case wantLow:
		s.length |= int(c)
		s.skip = s.length - 2
		switch {
		case s.skip < 0:
			s.lose(c)
		case s.skip == 0:
			s.behind()
		default:
			s.state = skipBytes
		}
	case skipBytes:
		if s.skip -= n; s.skip == 0 {
			s.behind()
		}
	case coded:
		if c == 0xff {
			s.state = codedFF
		}
	case codedFF:
		switch {
		case c == 0xff: // fill
		case c == 0 || c >= 0xd0 && c <= 0xd7: // a stuffed FF, a restart
			s.state = coded
		default:
			s.code(c)
		}
	}
}

// code takes the second byte of a marker.
func (s *scanner) code(c byte) {
	switch {
	case c == 0xff: // fill
		s.state = wantCode
	case c == markSOI: // the picture before broke off
		s.begin()
	case c == markEOI && s.scans == 0: // a placeholder: its end without a picture
		s.lose(c)
	case c == markEOI:
		s.state = complete
	case c == 0x01 || c >= 0xd0 && c <= 0xd7: // no content
		s.state = wantFF
	case c < 0xc0:
		s.lose(c)
	default:
		s.marker, s.state = c, wantHigh
		s.tables = s.tables || c == markDHT
	}
}

// behind is the place behind a segment's content.
func (s *scanner) behind() {
	if s.state = wantFF; s.marker == markSOS {
		s.state = coded
		s.scans++
	}
}

func (s *scanner) begin() {
	s.image = append(s.image[:0], 0xff, markSOI)
	s.state, s.tables, s.scans = wantFF, false, 0
	s.starts++
}

// lose gives a picture up that is none, and looks for the next: first in what
// was taken for its last segment, which may have swallowed a start when the
// picture broke off. A hostile stream makes us look twice only so often.
func (s *scanner) lose(c byte) {
	if s.rescans++; s.rescans <= maxRescans {
		s.lost = bytes.Clone(s.image[max(2, len(s.image)-maxSegment):])
		c = 0 // it is among them
	}
	s.image, s.state, s.last = s.image[:0], seek, c
}

const (
	maxRescans = 8
	maxSegment = 4 + 0xffff // of one marker segment, with the marker that was none
)

// picture returns the picture, with the standard Huffman tables put in
// where a camera left them out as M-JPEG allows: no decoder can guess that.
func (s *scanner) picture() []byte {
	if s.tables || !baseline(s.image) {
		return s.image
	}
	out := make([]byte, 0, len(s.image)+len(standardTables))
	out = append(out, s.image[:2]...)
	out = append(out, standardTables...)
	return append(out, s.image[2:]...)
}

// baseline reports whether the picture is Huffman coded in one pass; the
// standard tables fit no other.
func baseline(image []byte) bool {
	for p := 2; p+4 <= len(image) && image[p] == 0xff; {
		switch c := image[p+1]; {
		case c == 0xff:
			p++
			continue
		case c == 0x01 || c >= 0xd0 && c <= 0xd7:
			p += 2
			continue
		case c == 0xc0:
			return true
		case c == markSOS:
			return false
		}
		p += 2 + int(binary.BigEndian.Uint16(image[p+2:]))
	}
	return false
}

// pngSignature opens a PNG file (PNG specification, 5.2).
const pngSignature = "\x89PNG\r\n\x1a\n"

// pngEnd walks the whole chunks of a PNG from p on, and returns where they end
// and whether the last is its IEND. Called again with that place, it looks at
// none twice: a hostile picture has a million of them.
func pngEnd(b []byte, p int) (int, bool) {
	for p+12 <= len(b) {
		n := int64(binary.BigEndian.Uint32(b[p:]))
		last := string(b[p+4:p+8]) == "IEND"
		if n > int64(len(b)-p-12) {
			break
		}
		p += 12 + int(n)
		if last {
			return p, true
		}
	}
	return p, false
}
