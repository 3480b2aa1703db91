package main

import (
	"context"
	"errors"
	"time"
)

// A broker joins the nodes of a side. It is NATS servers, or one redis-server.
type broker struct {
	ctx     context.Context
	urls    []string // nodes take turns
	redis   *redisServer
	servers []*process // of NATS
	routes  []string
}

// startBroker starts a broker of a kind: of NATS a cluster of so many servers; Redis is always one.
func startBroker(ctx context.Context, kind string, servers int) (b *broker, err error) {
	b = &broker{ctx: ctx}
	if kind == brokerRedis {
		if b.redis, err = startRedis(ctx); err != nil {
			return nil, err
		}
		b.urls = []string{b.redis.URL}
		return b, nil
	}
	for i := range servers {
		cfg := brokerConfig{Cluster: servers > 1}
		if i > 0 {
			cfg.Join = b.routes[0]
		}
		p, urls, err := b.startNATS(cfg)
		if err != nil {
			return nil, errors.Join(err, b.stop())
		}
		b.servers = append(b.servers, p)
		b.urls, b.routes = append(b.urls, urls.Client), append(b.routes, urls.Route)
	}
	return b, nil
}

func (b *broker) startNATS(cfg brokerConfig) (p *process, urls brokerAddresses, err error) {
	if p, err = startProcess(b.ctx, "broker"); err != nil {
		return nil, urls, err
	}
	if err := p.call("start", cfg, &urls, 0); err != nil {
		p.cancel()
		return nil, urls, errors.Join(err, p.wait())
	}
	return p, urls, nil
}

// kill ends the server of the first node as a crash would.
func (b *broker) kill() error {
	if b.redis != nil {
		b.redis.cancel()
		<-b.redis.ended
		return nil
	}
	if err := b.servers[0].kill(); err != nil {
		return err
	}
	return b.servers[0].wait()
}

// revive starts what was killed at the same address.
func (b *broker) revive() (err error) {
	if b.redis != nil {
		b.redis, err = b.redis.again(b.ctx)
		return err
	}
	p, _, err := b.startNATS(brokerConfig{Cluster: true, Client: b.urls[0], Join: b.routes[1]})
	if err == nil {
		b.servers[0] = p
	}
	return err
}

// cpu is what all its servers have used since they were started.
func (b *broker) cpu() (used time.Duration, err error) {
	var pids []int
	if b.redis != nil {
		pids = []int{b.redis.PID}
	}
	for _, p := range b.servers {
		pids = append(pids, p.cmd.Process.Pid)
	}
	for _, pid := range pids {
		c, err := processCPU(pid)
		if err != nil {
			return 0, err
		}
		used += c.total()
	}
	return used, nil
}

// stop ends the broker.
func (b *broker) stop() error {
	if b.redis != nil {
		return b.redis.stop()
	}
	var errs []error
	for _, p := range b.servers {
		p.cancel()
		errs = append(errs, p.wait())
	}
	return errors.Join(errs...)
}
