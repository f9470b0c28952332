package rtsp

import (
	"errors"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph265"
	"github.com/pion/rtp"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// The limits of one frame on its way in. They hold before anything is joined,
// so that a camera that never ends a frame costs no more than them.
const (
	maxPictureBytes  = 16 << 20 // an access unit: a noisy 4K key frame is about 3 MiB
	maxJPEGBytes     = 8 << 20  // RFC 2435 ends at 2040 x 2040 pixels
	maxPictureUnits  = 1024     // NAL units of an access unit; 4K in rows of macroblocks has 135 slices
	maxPicturePieces = 1 << 16  // RTP packets of a frame
	maxParameterSets = 16       // of one kind
	maxParameterSize = 16 << 10 // bytes of one
)

// assembler makes one whole still of the packets of one RTP stream. It is used
// by one goroutine.
type assembler interface {
	// push takes the next packet in order and returns a frame when it completed
	// one. An error ends the stream.
	push(p *rtp.Packet) ([]byte, error)
	// held reports whether a frame is complete as far as can be told, and only
	// the next packet shows whether it is.
	held() bool
	// flush returns the held frame, if it is good, when no next packet comes.
	flush() []byte
	// verdict says why there is no frame yet.
	verdict() *fleet.CameraError
}

// newAssembler returns the assembler of a format, or nil if it has none.
func newAssembler(f format.Format) (fleet.Codec, assembler, error) {
	switch f := f.(type) {
	case *format.MJPEG:
		j := &jpegs{}
		j.reset()
		return fleet.JPEG, j, nil
	case *format.H264:
		d, err := f.CreateDecoder()
		sps, pps := f.SafeParams()
		a := &pictures{syntax: h264, decode: d.Decode, more: isMore264, params: make(map[byte][][]byte)}
		a.learn(sps)
		a.learn(pps)
		return fleet.H264, a, err
	case *format.H265:
		d, err := f.CreateDecoder()
		vps, sps, pps := f.SafeParams()
		a := &pictures{syntax: h265, decode: d.Decode, more: isMore265, params: make(map[byte][][]byte)}
		a.learn(vps)
		a.learn(sps)
		a.learn(pps)
		return fleet.H265, a, err
	}
	return "", nil, nil
}

func isMore264(err error) bool { return errors.Is(err, rtph264.ErrMorePacketsNeeded) }
func isMore265(err error) bool { return errors.Is(err, rtph265.ErrMorePacketsNeeded) }
