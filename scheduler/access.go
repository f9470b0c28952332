package scheduler

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

const (
	defaultKeyLife = 30 * 24 * time.Hour
	maxKeyCount    = 100_000
	tokenPrefix    = "sft1."
)

// CreateKey makes a site key. The text of a key is shown once: only its
// secret's SHA-256 is kept. ca is the SHA-256 of the centre's CA certificate.
func (s *Scheduler) CreateKey(ctx context.Context, n NewKey, ca [32]byte) (KeyView, fleet.Secret, error) {
	if err := checkSite(n.Site); err != nil {
		return KeyView{}, "", err
	}
	if n.Count < 0 || n.Count > maxKeyCount {
		return KeyView{}, "", invalid("count", "want 1 to %d", maxKeyCount)
	}
	if n.Expires < 0 {
		return KeyView{}, "", invalid("expires", "is in the past")
	}
	text := fleet.SiteKey{Site: n.Site, CA: ca}
	rand.Read(text.Secret[:]) //nolint:errcheck // crypto/rand.Read never fails
	hash := sha256.Sum256(text.Secret[:])
	now := time.Now()
	k := store.Key{ID: newID("key"), Site: n.Site, Hash: hash[:], Count: cmp.Or(n.Count, 1), Approve: n.Approve,
		Created: fleet.At(now), Expires: fleet.At(now.Add(cmp.Or(n.Expires, defaultKeyLife)))}
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := change{Batch: store.Batch{Keys: []store.Key{k}}}
	s.mention(&ch, n.Site)
	ch.then(func() { s.keys[k.ID] = k })
	if err := s.apply(ctx, &ch); err != nil {
		return KeyView{}, "", err
	}
	return keyView(k), text.Text(), nil
}

func keyView(k store.Key) KeyView {
	return KeyView{ID: k.ID, Site: k.Site, Count: k.Count, Used: k.Used, Approve: k.Approve, Revoked: k.Revoked, Created: k.Created, Expires: k.Expires}
}

// Keys lists the site keys, newest first.
func (s *Scheduler) Keys(context.Context) ([]KeyView, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []KeyView
	for _, k := range s.keys {
		out = append(out, keyView(k))
	}
	slices.SortFunc(out, func(a, b KeyView) int { return cmp.Or(cmp.Compare(b.Created, a.Created), cmp.Compare(a.ID, b.ID)) })
	return out, nil
}

// RevokeKey stops a key from enrolling further agents; those it enrolled stay.
func (s *Scheduler) RevokeKey(ctx context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.keys[id]
	if !ok {
		return fmt.Errorf("key %s: %w", id, ErrNotFound)
	}
	k.Revoked = true
	ch := change{Batch: store.Batch{Keys: []store.Key{k}}}
	ch.then(func() { s.keys[id] = k })
	return s.apply(ctx, &ch)
}

// Enrol makes a new agent for who holds a site key's secret.
func (s *Scheduler) Enrol(ctx context.Context, secret []byte, hostname, version string) (fleet.Agent, error) {
	hash := sha256.Sum256(secret)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys {
		if string(k.Hash) != string(hash[:]) {
			continue
		}
		now := fleet.At(time.Now())
		switch {
		case k.Revoked:
			return fleet.Agent{}, fmt.Errorf("site key %s is revoked: %w", k.ID, ErrUnauthorized)
		case k.Expires <= now:
			return fleet.Agent{}, fmt.Errorf("site key %s expired at %s: %w", k.ID, k.Expires, ErrUnauthorized)
		case k.Used >= k.Count:
			return fleet.Agent{}, fmt.Errorf("site key %s has enrolled all of its %d agents: %w", k.ID, k.Count, ErrUnauthorized)
		}
		k.Used++
		a := fleet.Agent{ID: fleet.AgentID(newID("agt")), Site: k.Site, Hostname: clip(hostname, 253), Version: clip(version, 64), State: fleet.Pending, Enrolled: now, Seen: now}
		if k.Approve {
			a.State = fleet.Approved
		}
		ch := change{Batch: store.Batch{Keys: []store.Key{k}, Agents: []fleet.Agent{a}}}
		ch.tell(Event{Kind: "agent", Agent: a.ID, Site: a.Site})
		ch.then(func() {
			s.keys[k.ID] = k
			s.addAgent(a)
		})
		return a, s.apply(ctx, &ch)
	}
	return fleet.Agent{}, fmt.Errorf("this site key is unknown here: %w", ErrUnauthorized)
}

// clip bounds a text that came from outside, and drops what would break a line.
func clip(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		// Control characters of either kind make a page or a terminal show another
		// text than the one that is stored.
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == 0xfffd {
			return -1
		}
		return r
	}, text[:min(len(text), most)])
	return strings.TrimSpace(text)
}

// Agents lists the agents, by site and id.
func (s *Scheduler) Agents(context.Context) ([]fleet.Agent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []fleet.Agent
	for _, a := range s.boxes {
		out = append(out, a.Agent)
	}
	slices.SortFunc(out, func(a, b fleet.Agent) int { return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.ID, b.ID)) })
	return out, nil
}

// ApproveAgent lets an agent in that enrolled with a key that does not approve.
func (s *Scheduler) ApproveAgent(ctx context.Context, id fleet.AgentID) error {
	return s.setAgent(ctx, id, fleet.Approved)
}

// RevokeAgent shuts an agent out for good. Orders it may hold are missed, as
// nothing it reports is taken any more.
func (s *Scheduler) RevokeAgent(ctx context.Context, id fleet.AgentID) error {
	return s.setAgent(ctx, id, fleet.Retired)
}

func (s *Scheduler) setAgent(ctx context.Context, id fleet.AgentID, to fleet.Enrollment) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.agents[id]
	if a == nil {
		return fmt.Errorf("agent %s: %w", id, ErrNotFound)
	}
	if a.State == fleet.Retired && to != fleet.Retired {
		return invalid("id", "agent %s is revoked: enrol it again with a new site key", id)
	}
	b := a.Agent
	b.State = to
	ch := change{Batch: store.Batch{Agents: []fleet.Agent{b}}}
	ch.tell(Event{Kind: "agent", Agent: id, Site: a.Site})
	if to == fleet.Retired {
		now := fleet.At(time.Now())
		for _, n := range s.listed(&a.held, nil) {
			f := s.slots.at(n)
			m := move{flight: n}
			if other := s.pick(s.targetOf(f.camera), a); other != nil && f.nominal+fleet.Instant(f.deadline) > now {
				m.to = other.index
			}
			// What is not due yet has no outcome yet: it may be taken back, or
			// find an agent in time.
			if m.to != 0 || f.nominal > max(now, s.through) {
				ch.move = append(ch.move, m)
				continue
			}
			ch.Captures = append(ch.Captures, missed(s.occurrence(f), now, fleet.CauseAgentLost, "the agent that held the order was revoked"))
			ch.flights = append(ch.flights, n)
		}
	}
	ch.then(func() {
		if a.State != fleet.Retired && to == fleet.Retired {
			a.site.enrolled--
		}
		a.Agent = b
		s.listAgent(a)
		if l := a.link; l != nil && to == fleet.Retired {
			close(l.gone)
			s.drop(a)
			a.Connected = false
		}
		a.site.changed()
	})
	return s.apply(ctx, &ch)
}

// PutCredentials sets the login of one camera or of a whole site, in place of
// the one it had.
func (s *Scheduler) PutCredentials(ctx context.Context, n NewCredentials) (CredentialsView, error) {
	if n.User == "" && n.Password == "" {
		return CredentialsView{}, invalid("user", "a user and a password are needed")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.Camera != 0 {
		cam := s.camera(n.Camera)
		if cam == nil {
			return CredentialsView{}, fmt.Errorf("camera %s: %w", n.Camera, ErrNotFound)
		}
		n.Site = cam.Site
	}
	if err := checkSite(n.Site); err != nil {
		return CredentialsView{}, err
	}
	var ch change
	s.mention(&ch, n.Site)
	c := s.putCredentials(&ch, n)
	if err := s.apply(ctx, &ch); err != nil {
		return CredentialsView{}, err
	}
	return credentialsView(c), nil
}

func (s *Scheduler) putCredentials(ch *change, n NewCredentials) store.Credentials {
	id := "site:" + string(n.Site)
	if n.Camera != 0 {
		id = n.Camera.String()
	}
	s.credSeq++
	c := store.Credentials{ID: id, Site: n.Site, Camera: n.Camera, User: n.User, Sealed: s.sealed(n.Password, id), Version: s.credSeq, Created: fleet.At(time.Now())}
	ch.Credentials = append(ch.Credentials, c)
	ch.then(func() {
		s.holdCredentials(c)
		s.camerasChanged(n.Site)
	})
	return c
}

// holdCredentials puts c in the place of those with its ID.
func (s *Scheduler) holdCredentials(c store.Credentials) {
	delete(s.current, s.creds[c.ID].Version)
	s.creds[c.ID], s.current[c.Version] = c, true
}

// replaced reports whether other credentials have taken the place of those with
// that version. Those of 0 have none.
func (s *Scheduler) replaced(version uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return version != 0 && !s.current[version]
}

func credentialsView(c store.Credentials) CredentialsView {
	return CredentialsView{ID: c.ID, Site: c.Site, Camera: c.Camera, User: c.User, Version: c.Version, Created: c.Created}
}

// Credentials lists the logins without their passwords.
func (s *Scheduler) Credentials(context.Context) ([]CredentialsView, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []CredentialsView
	for _, id := range slices.Sorted(maps.Keys(s.creds)) {
		out = append(out, credentialsView(s.creds[id]))
	}
	return out, nil
}

// credentialsFor lists what to try on a camera: its own login, then its site's.
// With camera 0 only the site's.
func (s *Scheduler) credentialsFor(site fleet.SiteID, camera fleet.CameraID) (out []fleet.Credentials) {
	ids := []string{"site:" + string(site)}
	if camera != 0 {
		ids = []string{camera.String(), ids[0]}
	}
	for _, id := range ids {
		c, ok := s.creds[id]
		if !ok {
			continue
		}
		p, err := s.unseal(c.Sealed, id)
		if err != nil {
			s.log.Error("credentials left out", "err", err)
			continue
		}
		out = append(out, fleet.Credentials{User: c.User, Password: p, Version: c.Version})
	}
	return out
}

// CreateToken makes a bearer token with a role. Its text is shown once.
func (s *Scheduler) CreateToken(ctx context.Context, name, role string) (fleet.Secret, error) {
	if !slices.Contains([]string{RoleViewer, RoleOperator, RoleAdmin}, role) {
		return "", invalid("role", "want viewer, operator or admin")
	}
	var b [32]byte
	rand.Read(b[:]) //nolint:errcheck // crypto/rand.Read never fails
	text := tokenPrefix + base64.RawURLEncoding.EncodeToString(b[:])
	hash := sha256.Sum256([]byte(text))
	t := store.Token{Name: name, Role: role, Hash: hash[:], Created: fleet.At(time.Now())}
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := change{Batch: store.Batch{Tokens: []store.Token{t}}}
	ch.then(func() {
		// One token a name: the new one takes the place of the old.
		maps.DeleteFunc(s.tokens, func(_ [32]byte, old store.Token) bool { return old.Name == name })
		s.tokens[hash] = t
	})
	return fleet.Secret(text), s.apply(ctx, &ch)
}

// Authenticate says who a token belongs to. Tokens are random, so comparing
// their hashes by map tells nobody anything.
func (s *Scheduler) Authenticate(_ context.Context, token fleet.Secret) (Principal, error) {
	hash := sha256.Sum256([]byte(token.Reveal()))
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tokens[hash]
	if !ok {
		return Principal{}, ErrUnauthorized
	}
	return Principal{Name: t.Name, Role: t.Role}, nil
}
