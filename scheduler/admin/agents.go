package admin

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

type newKeyInput struct {
	Body struct {
		Site    string `json:"site" minLength:"1" maxLength:"100"`
		Count   int    `json:"count,omitempty" minimum:"1" maximum:"100000" default:"1" doc:"agents that may join with it"`
		Approve *bool  `json:"approve,omitempty" doc:"agents that hold it are approved; default true"`
		Expires string `json:"expires,omitempty" doc:"how long it may be used, for example 72h; default 30 days"`
	}
}

type newCredentialsInput struct {
	Body struct {
		Site     string       `json:"site" minLength:"1" maxLength:"100"`
		Camera   string       `json:"camera,omitempty" doc:"of this camera only; default the whole site"`
		User     string       `json:"user" minLength:"1" maxLength:"200"`
		Password fleet.Secret `json:"password" maxLength:"1000" writeOnly:"true"`
	}
}

func (a *Server) registerAgents() {
	register(a, operation(scheduler.RoleViewer, "list-agents", http.MethodGet, "/agents", "agents", "List agents"),
		func(ctx context.Context, _ *struct{}) (*listOutput[Agent], error) {
			v, err := a.s.Agents(ctx)
			return listOf(each(v, agentOf)), err
		})

	op := operation(scheduler.RoleAdmin, "revoke-agent", http.MethodDelete, "/agents/{id}", "agents", "Revoke an agent: its certificate no longer opens anything")
	op.Errors = []int{http.StatusNotFound}
	register(a, op, func(ctx context.Context, in *struct {
		ID string `path:"id"`
	},
	) (*struct{}, error) {
		return nil, a.s.RevokeAgent(ctx, fleet.AgentID(in.ID))
	})

	register(a, operation(scheduler.RoleOperator, "list-keys", http.MethodGet, "/keys", "keys", "List site keys, without their secrets"),
		func(ctx context.Context, _ *struct{}) (*listOutput[Key], error) {
			v, err := a.s.Keys(ctx)
			return listOf(each(v, keyOf)), err
		})

	op = operation(scheduler.RoleAdmin, "create-key", http.MethodPost, "/keys", "keys", "Create a key with which agents join a site")
	op.DefaultStatus = http.StatusCreated
	register(a, op, a.createKey)

	op = operation(scheduler.RoleAdmin, "revoke-key", http.MethodDelete, "/keys/{id}", "keys", "Revoke a site key; agents that enrolled with it stay")
	op.Errors = []int{http.StatusNotFound}
	register(a, op, func(ctx context.Context, in *struct {
		ID string `path:"id"`
	},
	) (*struct{}, error) {
		return nil, a.s.RevokeKey(ctx, in.ID)
	})

	register(a, operation(scheduler.RoleOperator, "list-credentials", http.MethodGet, "/credentials", "credentials", "List camera logins, without their passwords"),
		func(ctx context.Context, _ *struct{}) (*listOutput[Credentials], error) {
			v, err := a.s.Credentials(ctx)
			return listOf(each(v, credentialsOf)), err
		})

	op = operation(scheduler.RoleOperator, "put-credentials", http.MethodPost, "/credentials", "credentials", "Store a login for one camera or for all of a site")
	op.DefaultStatus = http.StatusCreated
	register(a, op, a.putCredentials)
}

func (a *Server) createKey(ctx context.Context, in *newKeyInput) (*output[Key], error) {
	k := scheduler.NewKey{Site: fleet.SiteID(in.Body.Site), Count: in.Body.Count, Approve: true}
	if in.Body.Approve != nil {
		k.Approve = *in.Body.Approve
	}
	if in.Body.Expires != "" {
		d, err := time.ParseDuration(in.Body.Expires)
		if err != nil || d <= 0 {
			return nil, invalid("expires", "%q is no time to live: want for example 72h", in.Body.Expires)
		}
		k.Expires = d
	}
	v, text, err := a.s.CreateKey(ctx, k)
	if err != nil {
		return nil, err
	}
	out := keyOf(v)
	out.Key = text.Reveal() // the one moment it is shown
	return outputOf(out), nil
}

func (a *Server) putCredentials(ctx context.Context, in *newCredentialsInput) (*output[Credentials], error) {
	c := scheduler.NewCredentials{Site: fleet.SiteID(in.Body.Site), User: in.Body.User, Password: in.Body.Password}
	if in.Body.Camera != "" {
		id, err := cameraID("camera", in.Body.Camera)
		if err != nil {
			return nil, err
		}
		v, err := a.camera(ctx, id)
		if err != nil {
			return nil, err
		}
		if v.Site != c.Site {
			return nil, invalid("site", "%s", fmt.Sprintf("camera %s is at site %s", id, v.Site))
		}
		c.Camera = id
	}
	v, err := a.s.PutCredentials(ctx, c)
	return outputOf(credentialsOf(v)), err
}
