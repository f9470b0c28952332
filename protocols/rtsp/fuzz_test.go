package rtsp

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"
)

// FuzzAssemble feeds the three assemblers any packets: each is a length of two
// bytes, a byte of flags and the payload.
func FuzzAssemble(f *testing.F) {
	seed := func(payloads ...[]byte) {
		var b []byte
		for i, p := range payloads {
			b = binary.BigEndian.AppendUint16(b, uint16(len(p)))
			flags := byte(1)
			if i == len(payloads)-1 {
				flags = 3
			}
			b = append(append(b, flags), p...)
		}
		f.Add(byte(0), b)
		f.Add(byte(1), b)
		f.Add(byte(2), b)
	}
	seed([]byte{0x67, 1, 2}, []byte{0x68, 1, 2}, []byte{0x65, 0x88, 1})
	seed([]byte{0x7c, 0x85, 0x88, 1}, []byte{0x7c, 0x05, 1}, []byte{0x7c, 0x45, 2})
	seed([]byte{0x78, 0, 3, 0x67, 1, 2, 0, 2, 0x68, 1})
	seed([]byte{0x40, 1, 1}, []byte{0x42, 1, 1}, []byte{0x44, 1, 1}, []byte{0x26, 1, 0x80})
	seed([]byte{0x62, 1, 0x93, 0x80}, []byte{0x62, 1, 0x13, 1}, []byte{0x62, 1, 0x53, 1})
	seed(append([]byte{0, 0, 0, 0, 1, 255, 20, 12, 0, 0, 0, 128}, make([]byte, 140)...))
	seed([]byte{0, 0, 0, 0, 1, 127, 20, 12, 1}, []byte{0, 0, 0, 1, 1, 127, 20, 12, 1})

	f.Fuzz(func(t *testing.T, kind byte, in []byte) {
		_, a, err := newAssembler([]format.Format{
			&format.MJPEG{}, &format.H264{PayloadTyp: 96, PacketizationMode: 1}, &format.H265{PayloadTyp: 96},
		}[kind%3])
		if err != nil {
			t.Fatal(err)
		}
		var seq uint16
		var stamp uint32
		for len(in) >= 3 {
			n, flags := int(binary.BigEndian.Uint16(in)), in[2]
			in = in[3:]
			n = min(n, len(in))
			seq += uint16(flags & 1)
			stamp += uint32(flags >> 4)
			p := &rtp.Packet{Header: rtp.Header{SequenceNumber: seq, Timestamp: stamp, Marker: flags&2 != 0}, Payload: in[:n]}
			in = in[n:]
			out, err := a.push(p)
			if v := a.verdict(); v == nil || v.Error() == "" {
				t.Fatal("no verdict")
			}
			if err != nil {
				return
			}
			if out == nil {
				continue
			}
			if kind%3 == 0 && (!bytes.HasPrefix(out, []byte{0xff, 0xd8}) || !bytes.HasSuffix(out, []byte{0xff, 0xd9})) {
				t.Fatalf("no JPEG: %x", out)
			}
			if kind%3 != 0 && !bytes.HasPrefix(out, []byte{0, 0, 0, 1}) {
				t.Fatalf("no Annex B: %x", out)
			}
		}
	})
}
