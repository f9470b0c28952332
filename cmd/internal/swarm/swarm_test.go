package swarm_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/shutterfleet/shutterfleet/cmd/internal/swarm"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
	"github.com/shutterfleet/shutterfleet/scheduler/gateway"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// centre is the other side, in a test's hands: it hears what agents say, and
// says what the test wants.
type centre struct {
	wire.UnimplementedAgentsServer
	t      testing.TB
	addr   string
	roster swarm.Roster
	key    ed25519.PrivateKey
	links  chan *link // unbuffered: a test takes each stream
}

// link is one stream.
type link struct {
	c      *centre
	stream wire.Agents_LinkServer
	heard  chan *wire.FromAgent // all but loads and probes; closed at its end
	cut    chan struct{}
	clean  bool // after heard is closed
	nonce  uint64
	early  []*wire.FromAgent // heard while something else was waited for
}

// next waits for the next message that fits: what is due at once may be reported
// before its order is acknowledged.
func (l *link) next(what string, fits func(*wire.FromAgent) bool) *wire.FromAgent {
	l.c.t.Helper()
	if i := slices.IndexFunc(l.early, fits); i >= 0 {
		m := l.early[i]
		l.early = slices.Delete(l.early, i, i+1)
		return m
	}
	for m := range l.heard {
		if fits(m) {
			return m
		}
		l.early = append(l.early, m)
	}
	l.c.t.Fatalf("the stream ended without %s, after %v", what, l.early)
	return nil
}

func (c *centre) Link(stream wire.Agents_LinkServer) error {
	first, err := stream.Recv()
	if err != nil || first.GetHello() == nil {
		return errors.New("no hello")
	}
	if err := stream.Send(&wire.FromCentre{Body: &wire.FromCentre_Welcome{Welcome: &wire.Welcome{WireVersion: wire.Version}}}); err != nil {
		return err
	}
	l := &link{c: c, stream: stream, heard: make(chan *wire.FromAgent), cut: make(chan struct{}), nonce: first.GetHello().GetNonce()}
	c.links <- l
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(l.heard)
		for {
			m, err := stream.Recv()
			if err != nil {
				l.clean = errors.Is(err, io.EOF)
				return
			}
			if m.GetLoad() != nil || m.GetClockProbe() != nil {
				continue
			}
			select {
			case l.heard <- m:
			case <-l.cut:
				return
			}
		}
	}()
	select {
	case <-ended:
		return nil
	case <-l.cut:
		return status.Error(codes.Unavailable, "cut")
	}
}

// instruct signs an instruction with the next nonce and sends it.
func (l *link) instruct(change func(*wire.Instruction)) uint64 {
	l.c.t.Helper()
	l.nonce++
	in := &wire.Instruction{Agent: string(l.c.roster.Agents[0].Agent), Nonce: l.nonce, Fence: 1, ExpiresMs: time.Now().Add(time.Minute).UnixMilli()}
	change(in)
	b, err := proto.Marshal(in)
	if err != nil {
		l.c.t.Fatal(err)
	}
	sig := ed25519.Sign(l.c.key, append([]byte(wire.SigningContext), b...))
	if err := l.stream.Send(&wire.FromCentre{Body: &wire.FromCentre_Signed{Signed: &wire.Signed{Instruction: b, Signature: sig}}}); err != nil {
		l.c.t.Fatal(err)
	}
	return in.GetNonce()
}

func orders(os ...fleet.Order) func(*wire.Instruction) {
	var b []byte
	for _, o := range os {
		b = wire.AppendOrder(b, o)
	}
	return func(in *wire.Instruction) { in.Body = &wire.Instruction_Orders{Orders: &wire.Orders{Packed: b}} }
}

// stored waits for the acknowledgement of an instruction.
func (l *link) stored(nonce uint64) {
	l.c.t.Helper()
	m := l.next("an acknowledgement", func(m *wire.FromAgent) bool { return m.GetOrdersStored() != nil })
	if m.GetOrdersStored().GetNonce() != nonce {
		l.c.t.Fatalf("%v, want the acknowledgement of %d", m, nonce)
	}
}

// report waits for a report.
func (l *link) report() (uint64, []fleet.Capture) {
	l.c.t.Helper()
	m := l.next("a report", func(m *wire.FromAgent) bool { return m.GetReport() != nil })
	cs, err := wire.ParseCaptures(m.GetReport().GetPacked())
	if err != nil || len(cs) == 0 {
		l.c.t.Fatalf("%v, want a report: %v", m, err)
	}
	return m.GetReport().GetBatch(), cs
}

func (l *link) ack(batch uint64) {
	l.c.t.Helper()
	if err := l.stream.Send(&wire.FromCentre{Body: &wire.FromCentre_ReportStored{ReportStored: &wire.ReportStored{Batch: batch}}}); err != nil {
		l.c.t.Fatal(err)
	}
}

// open runs a swarm of one agent against a centre. end hangs up and waits.
func open(t testing.TB, o swarm.Options) (c *centre, s *swarm.Swarm, end func()) {
	t.Helper()
	pki, err := gateway.LoadPKI(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := pki.Certify(key.Public(), fleet.Agent{ID: "agt-1", Site: "lab"})
	if err != nil {
		t.Fatal(err)
	}
	r := swarm.Roster{CA: pki.CA.Raw, OrderKey: public, Agents: []swarm.Identity{{Agent: "agt-1", Site: "lab", Key: der, Certificate: cert}}}
	file := filepath.Join(t.TempDir(), "roster")
	if err := r.Write(file); err != nil {
		t.Fatal(err)
	}
	if r, err = swarm.ReadRoster(file); err != nil {
		t.Fatal(err)
	}
	srv, err := gateway.NewServer(pki)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c = &centre{t: t, addr: ln.Addr().String(), roster: r, key: private, links: make(chan *link)}
	wire.RegisterAgentsServer(srv, c)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := srv.Serve(ln); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	o.Server, o.Linger = c.addr, time.Millisecond
	if s, err = swarm.New(r, o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
		srv.Stop()
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return c, s, func() { cancel(); wg.Wait() }
}

func order(i int, nominal, deadline time.Time) fleet.Order {
	return fleet.Order{Occurrence: fleet.Occurrence{Camera: fleet.CameraID(i), Schedule: 1, Nominal: fleet.At(nominal)}, Deadline: fleet.At(deadline)}
}

// TestNeverEarly sends an order for a moment to come and one whose deadline is
// over: the first is captured not before its time, the second missed.
func TestNeverEarly(t *testing.T) {
	c, s, end := open(t, swarm.Options{})
	l := <-c.links
	now := time.Now()
	soon := order(1, now.Add(150*time.Millisecond), now.Add(time.Minute))
	l.stored(l.instruct(orders(soon, order(2, now.Add(-time.Hour), now.Add(-time.Minute)))))
	for got := 0; got < 2; {
		batch, cs := l.report()
		for _, c := range cs {
			got++
			switch {
			case c.Occurrence == soon.Occurrence && (c.Outcome != fleet.Captured || c.At < soon.Nominal || c.Delay < 0 || c.Reading.SHA256 == [32]byte{}):
				t.Errorf("%+v", c)
			case c.Camera == 2 && (c.Outcome != fleet.Missed || c.Cause != fleet.CauseDeadline):
				t.Errorf("%+v", c)
			}
		}
		l.ack(batch)
	}
	end()
	if _, more := <-l.heard; more || len(l.early) > 0 || !l.clean {
		t.Error("the stream was not closed in order")
	}
	if st := s.Stats(); st.Orders != 2 || st.Captured != 1 || st.Missed != 1 || st.Acked != 2 || st.Delay.N != 2 || st.Agents != 0 || st.FirstOrder == 0 {
		t.Errorf("%+v", st)
	}
}

// TestBatches takes 130 orders that are due at once: reports hold 64 at most,
// and no more than the window are sent before an answer.
func TestBatches(t *testing.T) {
	c, s, end := open(t, swarm.Options{Window: 2})
	l := <-c.links
	now := time.Now()
	var os []fleet.Order
	for i := range 4 * 64 {
		os = append(os, order(i+1, now, now.Add(time.Minute)))
	}
	l.stored(l.instruct(orders(os...)))
	seen := map[fleet.CameraID]bool{}
	take := func() uint64 {
		batch, cs := l.report()
		if len(cs) != 64 {
			t.Errorf("a report of %d", len(cs))
		}
		for _, c := range cs {
			if seen[c.Camera] {
				t.Errorf("%s was reported twice", c.Occurrence)
			}
			seen[c.Camera] = true
		}
		return batch
	}
	a, b := take(), take()
	// The window is full: the next thing that is heard is the answer to this.
	l.stored(l.instruct(orders(os[0])))
	l.ack(b)
	take()
	l.ack(a)
	take()
	end()
	if st := s.Stats(); len(seen) != len(os) || st.Acked != 128 || st.Repeated != 1 || st.Reports != 4 {
		t.Errorf("%d seen, %+v", len(seen), st)
	}
}

// TestCut loses the stream with a report on the way: it is sent again, and an
// order that comes again is not captured again.
func TestCut(t *testing.T) {
	c, s, end := open(t, swarm.Options{})
	l := <-c.links
	now := time.Now()
	o := order(1, now, now.Add(time.Minute))
	l.stored(l.instruct(orders(o)))
	_, first := l.report()
	close(l.cut)
	next := <-c.links
	if next.nonce != l.nonce {
		t.Errorf("the agent says it has taken %d, want %d", next.nonce, l.nonce)
	}
	batch, again := next.report()
	if !reflect.DeepEqual(again, first) {
		t.Errorf("%+v, want %+v", again, first)
	}
	next.stored(next.instruct(orders(o)))
	next.ack(batch)
	o2 := order(2, now, now.Add(time.Minute))
	next.stored(next.instruct(orders(o2)))
	if _, cs := next.report(); len(cs) != 1 || cs[0].Occurrence != o2.Occurrence {
		t.Errorf("%+v", cs)
	}
	end()
	if st := s.Stats(); st.Links != 2 || st.Repeated != 1 || st.Captured != 2 {
		t.Errorf("%+v", st)
	}
}

// TestRecall takes an order back before its time.
func TestRecall(t *testing.T) {
	c, s, end := open(t, swarm.Options{})
	l := <-c.links
	// A busy machine may come to the recall when the time has come already: then
	// the next pair has more of it.
	round := func(n int, lead time.Duration) (inTime bool) {
		now := time.Now()
		back, stays := order(n, now.Add(lead), now.Add(time.Hour)), order(n+1, now.Add(lead+20*time.Millisecond), now.Add(time.Hour))
		l.stored(l.instruct(orders(back, stays)))
		l.stored(l.instruct(func(in *wire.Instruction) {
			in.Body = &wire.Instruction_Recall{Recall: &wire.Recall{Packed: wire.AppendOrder(nil, back)}}
		}))
		inTime = time.Since(now) < lead
		captured := map[fleet.Occurrence]bool{}
		for !captured[stays.Occurrence] {
			batch, cs := l.report()
			for _, c := range cs {
				captured[c.Occurrence] = true
			}
			l.ack(batch)
		}
		if inTime && captured[back.Occurrence] {
			t.Errorf("%s was captured", back.Occurrence)
		}
		return inTime
	}
	n := 1
	for lead := 100 * time.Millisecond; !round(n, lead) && lead < time.Minute; lead *= 4 {
		n += 2
	}
	end()
	if st := s.Stats(); st.Recalled == 0 || n == 1 && (st.Recalled != 1 || st.Captured != 1) {
		t.Errorf("%+v", st)
	}
}

// TestRefuses what is forged, foreign, old, expired or unknown; a camera list
// is taken.
func TestRefuses(t *testing.T) {
	c, s, end := open(t, swarm.Options{})
	l := <-c.links
	good := func(in *wire.Instruction) { in.Body = &wire.Instruction_Cameras{Cameras: &wire.Cameras{Full: true}} }
	l.stored(l.instruct(good))
	key := c.key
	_, c.key, _ = ed25519.GenerateKey(rand.Reader)
	l.instruct(good)
	c.key = key
	for _, spoil := range []func(*wire.Instruction){
		func(in *wire.Instruction) { in.Agent = "agt-2" },
		func(in *wire.Instruction) { in.Nonce = 1 },
		func(in *wire.Instruction) { in.Fence = 0 },
		func(in *wire.Instruction) { in.ExpiresMs = 1 },
		func(in *wire.Instruction) { in.Body = nil },
		func(in *wire.Instruction) {
			in.Body = &wire.Instruction_Orders{Orders: &wire.Orders{Packed: []byte{1, 2, 3}}}
		},
	} {
		l.instruct(func(in *wire.Instruction) { good(in); spoil(in) })
	}
	l.stored(l.instruct(good))
	end()
	if st := s.Stats(); st.Refused != 7 {
		t.Errorf("%d refused, want 7", st.Refused)
	}
}
