package gateway

import (
	"context"
	"errors"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// maxAsks is how many answers to one agent's questions for permits share a
// commit: a site's cameras are all new to it once.
const maxAsks = 64

// permit decides on a login at once, in the order of the agents' questions, and
// answers when that is durable.
func (s *session) permit(ctx context.Context, m *wire.PermitAsk) error {
	durable, err := s.link.AskPermit(m.GetDevice(), m.GetVersion(), m.GetPermit(), m.GetWorked())
	return s.aside(ctx, s.asks, func() error {
		if err == nil {
			err = durable(ctx)
		}
		a := &wire.PermitAnswer{Permit: m.GetPermit(), Granted: err == nil}
		if err != nil {
			a.Reason, a.Soon = err.Error(), errors.Is(err, scheduler.ErrPermitSoon)
		}
		return s.send(&wire.FromCentre{Body: &wire.FromCentre_PermitAnswer{PermitAnswer: a}})
	})
}

// settled takes in how a login ended. What the store refuses now is written with
// the next change.
func (s *session) settled(ctx context.Context, m *wire.LoginSettled) error {
	durable := s.link.Settled(m.GetDevice(), m.GetVersion(), m.GetPermit(), fleet.LoginAnswer(m.GetAnswer())) //nolint:gosec // an unknown one means unused
	return s.aside(ctx, s.asks, func() error {
		if err := durable(ctx); err != nil {
			s.g.log.ErrorContext(ctx, "a settled login could not be stored: it counts as refused meanwhile", "agent_id", s.link.Agent(), "err", err)
		}
		return nil
	})
}
