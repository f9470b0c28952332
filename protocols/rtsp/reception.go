package rtsp

import (
	"sync"
	"time"

	"github.com/pion/rtp"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// markerWait is how long a picture is held whose marker was not seen to be true
// before, when no packet follows: cameras that mark each slice send the slices
// of a picture within its frame's time, which is rarely longer.
const markerWait = 100 * time.Millisecond

// reception is a stream that plays: packets go in, and one frame or one error
// comes out.
type reception struct {
	codec fleet.Codec
	now   func() time.Time
	first func()      // called with the first packet
	done  chan result // holds the only one

	mu    sync.Mutex // UDP packets come from another goroutine than the end
	asm   assembler
	any   bool
	ended bool
	hold  *time.Timer
	at    time.Time // of the packet before
}

type result struct {
	frame fleet.Frame
	err   error
}

func newReception(a assembler, c fleet.Codec, now func() time.Time, first func()) *reception {
	return &reception{asm: a, codec: c, now: now, first: first, done: make(chan result, 1)}
}

func (r *reception) packet(p *rtp.Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	if r.hold != nil {
		r.hold.Stop()
		r.hold = nil
	}
	if !r.any {
		r.any = true
		r.first()
	}
	r.at = r.now()
	switch data, err := r.asm.push(p); {
	case data != nil || err != nil:
		r.finish(data, err)
	case r.asm.held():
		var t *time.Timer
		t = time.AfterFunc(markerWait, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.hold == t { // or a packet has come meanwhile
				r.release()
			}
		})
		r.hold = t
	}
}

// release takes the held picture for whole. Callers hold mu.
func (r *reception) release() {
	if r.ended || !r.asm.held() {
		return
	}
	if data := r.asm.flush(); data != nil {
		r.finish(data, nil)
	}
}

func (r *reception) finish(data []byte, err error) {
	r.ended = true
	r.done <- result{fleet.Frame{Data: data, Codec: r.codec, At: r.at}, err}
}

// heard reports whether any packet came.
func (r *reception) heard() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.any
}

// end takes no more packets. A picture that is held then is the frame.
func (r *reception) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.release()
	r.ended = true
	if r.hold != nil {
		r.hold.Stop()
	}
}
