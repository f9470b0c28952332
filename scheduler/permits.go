package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

const (
	// maxLoginDevices bounds the devices of one site whose refusals are kept; an
	// agent's own budget has the same bound. Beyond it the one that was quiet
	// longest is forgotten.
	maxLoginDevices = 16384
	// maxTries bounds what one device can make us remember: two for each of 64
	// versions of credentials.
	maxTries = 128
	// loginTime is how long a login is thought to be under way: the longest
	// deadline that a description has. One that is older has died with its agent.
	loginTime = time.Minute
	// maxDeviceKey bounds the name of a device: an endpoint reference is a URN.
	maxDeviceKey = 512
)

// ErrPermitSoon says that agents are at a login right now, and what comes of it
// decides whether it may be tried again.
var ErrPermitSoon = errors.New("the login is being tried right now")

// errReplaced keeps an agent from a login that it alone still knows: a success
// with the one that took its place has the camera's refusals forgotten, and it
// would be refused once more.
var errReplaced = errors.New("other credentials have taken the place of this login: it is not tried any more, and they are on their way to the agent")

// loginKey is a device, as all agents of its site name it.
type loginKey struct {
	site   fleet.SiteID
	device string
}

// try is one login at a device since it last let anybody in: refused, or
// permitted and not settled yet. The latter counts as refused too, for the
// agent may have died before it could tell.
type try struct {
	Version uint64        `json:"v"`
	At      fleet.Instant `json:"at"`
	Permit  uint64        `json:"p,omitempty"` // 0 = refused
	Agent   fleet.AgentID `json:"a,omitempty"` // whose permit
}

// ledger decides who may try which login. It is pure: all agents' questions and
// answers come in, one at a time, with the time they came at.
//
//	ask ──► permit: a try that counts ──┬─ refused ──► it stays
//	                                    ├─ accepted ─► the device's refusals are forgotten
//	                                    └─ unused ───► it never was
type ledger map[fleet.SiteID]map[string][]try // by device, oldest first

// ask grants the permit, or says why not. One that was granted is granted again.
func (l ledger) ask(k loginKey, agent fleet.AgentID, version, permit uint64, worked bool, now fleet.Instant) error {
	tries := l[k.site][k.device]
	refused := make([]fleet.LoginRefusal[uint64], len(tries))
	open := false
	for i, t := range tries {
		if t.Permit == permit && t.Agent == agent {
			return nil
		}
		at := t.At
		if t.Permit != 0 { // it may be refused yet
			at = min(now, at.Add(loginTime))
		}
		refused[i] = fleet.LoginRefusal[uint64]{With: t.Version, At: at.Time()}
		open = open || t.Permit != 0 && t.Version == version && now.Sub(t.At) < loginTime
	}
	switch v := fleet.JudgeLogin(refused, version, worked, now.Time()); {
	case v.Final && open:
		return fmt.Errorf("%s, by the agents of site %s: %w: what comes of it decides", k.device, k.site, ErrPermitSoon)
	case v.Final:
		return fmt.Errorf("the agents of site %s tried this login on %s twice, and it was refused: no further try until its credentials are changed or stored again", k.site, k.device)
	case !v.OK():
		return fmt.Errorf("the login budget of %s is used up by the agents of site %s: next try in %s, at %s",
			k.device, k.site, v.Free.Sub(now.Time()).Round(time.Second), v.Free.UTC().Format(time.RFC3339))
	}
	l.add(k, try{Version: version, At: now, Permit: permit, Agent: agent})
	return nil
}

// settle takes in how a login ended. A permit of 0, or one that is not known,
// was none: what is told counts all the same.
func (l ledger) settle(k loginKey, agent fleet.AgentID, version, permit uint64, a fleet.LoginAnswer, now fleet.Instant) {
	tries := l[k.site][k.device]
	at := slices.IndexFunc(tries, func(t try) bool { return permit != 0 && t.Permit == permit && t.Agent == agent })
	switch {
	case a == fleet.LoginAccepted:
		// Others may be at it this moment: their permits stand.
		l.put(k, slices.DeleteFunc(tries, func(t try) bool { return t.Permit == 0 || t.Permit == permit && t.Agent == agent }))
	case a == fleet.LoginRefused && at >= 0:
		tries[at] = try{Version: tries[at].Version, At: now}
		l.put(k, tries)
	case a == fleet.LoginRefused:
		l.add(k, try{Version: version, At: now})
	case at >= 0:
		l.put(k, slices.Delete(tries, at, at+1))
	}
}

func (l ledger) add(k loginKey, t try) {
	tries := append(l[k.site][k.device], t)
	l.put(k, tries[max(0, len(tries)-maxTries):])
}

// put keeps a device's tries. The device of the site that was quiet longest is
// forgotten when there are too many.
func (l ledger) put(k loginKey, tries []try) {
	devices := l[k.site]
	if len(tries) == 0 {
		if delete(devices, k.device); len(devices) == 0 {
			delete(l, k.site)
		}
		return
	}
	if devices == nil {
		devices = map[string][]try{}
		l[k.site] = devices
	}
	if quiet, full := l.full(k); full {
		delete(devices, quiet)
	}
	devices[k.device] = tries
}

// full reports whether there is no room for the device, and which of its site
// was quiet longest.
func (l ledger) full(k loginKey) (quiet string, full bool) {
	devices := l[k.site]
	if _, ok := devices[k.device]; ok || len(devices) < maxLoginDevices {
		return "", false
	}
	since := fleet.Instant(0)
	for d, tries := range devices {
		if last := tries[len(tries)-1].At; quiet == "" || last < since {
			quiet, since = d, last
		}
	}
	return quiet, true
}

// logins is the ledger, and its rows in the store. Questions are decided in
// memory, in the order they come; each answer waits until its row is durable,
// and all that wait share one commit.
type logins struct {
	store *store.Store
	log   *slog.Logger

	mu     sync.Mutex
	ledger ledger
	dirty  map[loginKey]bool
	stand  uint64 // number of the last change

	io      sync.Mutex // held while rows are written; taken before mu
	written uint64     // changes up to it are durable
}

func newLogins(s *store.Store, log *slog.Logger) *logins {
	return &logins{store: s, log: log, ledger: ledger{}, dirty: map[loginKey]bool{}}
}

func (l *logins) restore(ctx context.Context) error {
	return l.store.EachLogin(ctx, func(r store.Login) error {
		var tries []try
		if err := json.Unmarshal(r.Body, &tries); err != nil {
			return fmt.Errorf("refused logins of %s: %w", r.Device, err)
		}
		l.ledger.put(loginKey{r.Site, r.Device}, tries)
		return nil
	})
}

// change runs f over the ledger and returns the change's number.
func (l *logins) change(k loginKey, f func(ledger) error) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	quiet, full := l.ledger.full(k)
	if err := f(l.ledger); err != nil {
		return 0, err
	}
	l.dirty[k] = true
	if full { // its row goes, if it had to
		l.dirty[loginKey{k.site, quiet}] = true
	}
	l.stand++
	return l.stand, nil
}

// durable returns once the change with that number is. Who comes first writes
// for all.
func (l *logins) durable(ctx context.Context, change uint64) error {
	l.io.Lock()
	defer l.io.Unlock()
	if l.written >= change {
		return nil
	}
	l.mu.Lock()
	rows := make([]store.Login, 0, len(l.dirty))
	var fault error
	for k := range l.dirty {
		r := store.Login{Site: k.site, Device: k.device}
		if tries := l.ledger[k.site][k.device]; len(tries) > 0 {
			b, err := json.Marshal(tries)
			fault = errors.Join(fault, err)
			r.Body = b
		}
		rows = append(rows, r)
	}
	clear(l.dirty)
	stand := l.stand
	l.mu.Unlock()
	if fault == nil {
		fault = l.store.PutLogins(context.WithoutCancel(ctx), rows)
	}
	if fault != nil {
		l.mu.Lock()
		for _, r := range rows {
			l.dirty[loginKey{r.Site, r.Device}] = true
		}
		l.mu.Unlock()
		return fault
	}
	l.written = stand
	return nil
}

// AskPermit decides at once whether the agent may try a login, and returns how
// to wait until the grant is durable: only then may the agent be told. The error
// says why not.
func (l *Link) AskPermit(device string, version, permit uint64, worked bool) (durable func(context.Context) error, err error) {
	if device == "" || len(device) > maxDeviceKey || permit == 0 {
		return nil, errors.New("the question names no device, or no permit")
	}
	if l.s.replaced(version) {
		return nil, errReplaced
	}
	k, logins := loginKey{l.site, device}, l.s.logins
	n, err := logins.change(k, func(g ledger) error { return g.ask(k, l.agent, version, permit, worked, fleet.At(time.Now())) })
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		err := logins.durable(ctx, n)
		if err == nil {
			return nil
		}
		_, _ = logins.change(k, func(g ledger) error { // it never was
			g.settle(k, l.agent, version, permit, fleet.LoginUnused, fleet.At(time.Now()))
			return nil
		})
		logins.log.ErrorContext(ctx, "permits could not be stored", "err", err)
		return errors.New("the scheduler's store refuses, and a permit must be stored before it is given: its log says why")
	}, nil
}

// Settled takes in how a login of the agent ended, and returns how to make that
// durable. Until it is, the login counts as refused.
func (l *Link) Settled(device string, version, permit uint64, a fleet.LoginAnswer) (durable func(context.Context) error) {
	k, logins := loginKey{l.site, device}, l.s.logins
	if device == "" || len(device) > maxDeviceKey {
		return func(context.Context) error { return nil }
	}
	n, _ := logins.change(k, func(g ledger) error {
		g.settle(k, l.agent, version, permit, a, fleet.At(time.Now()))
		return nil
	})
	return func(ctx context.Context) error { return logins.durable(ctx, n) }
}
