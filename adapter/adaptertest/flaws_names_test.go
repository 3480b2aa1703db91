package adaptertest

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/belfry-io/belfry/adapter"
)

// nameFlaws are drivers that take a name for another.
var nameFlaws = []flaw{
	{"DropsHostileNames", []string{"HostileNames"}, "missed", false, dropping(func(topic adapter.Topic, _ []byte) bool { return strings.ContainsAny(topic.Room, "*>") })},
	{"RefusesHostileNames", []string{"HostileNames"}, "bad subject", false,
		subscribing(func(ctx context.Context, l *link, topics ...adapter.Topic) error {
			if slices.ContainsFunc(topics, func(topic adapter.Topic) bool { return strings.Contains(topic.Namespace, "\r\n") }) {
				return errors.New("bad subject")
			}
			return l.Link.Subscribe(ctx, topics...)
		})},
	{"ReconnectsOverALongName", []string{"HostileNames"}, "cost the link its connection", false, withLinks(reconnectOverLongName)},
	{"CutsLongNames", []string{"UnsubscribeHostileNames"}, "missed", false, mapping(cutName)},
	{"CutsLongNamesAndOverdelivers", []string{"ExactHostileNames"}, "not subscribed", false, mapping(cutName)},
	{"IgnoresCase", []string{"UnsubscribeHostileNames"}, "missed", false, mapping(ignoreCase)},
	{"IgnoresCaseAndOverdelivers", []string{"ExactHostileNames"}, "not subscribed", false, mapping(ignoreCase)},
	{"JoinsNames", []string{"UnsubscribeHostileNames"}, "missed", false, mapping(joinNames("."))},
	{"JoinsNamesByNUL", []string{"UnsubscribeHostileNames"}, "missed", false, mapping(joinNames("\x00"))},
	{"TrimsNames", []string{"UnsubscribeHostileNames"}, "missed", false, mapping(onNames(strings.TrimSpace))},
	{"TrimsDots", []string{"UnsubscribeHostileNames"}, "missed", false, mapping(onNames(func(s string) string { return strings.TrimRight(s, ".") }))},
	{"RepairsUTF8", []string{"UnsubscribeHostileNames"}, "missed", false, mapping(onNames(func(s string) string { return strings.ToValidUTF8(s, "\ufffd") }))},
	{"EndsNamesAtNUL", []string{"UnsubscribeHostileNames"}, "missed", false, mapping(onNames(func(s string) string { s, _, _ = strings.Cut(s, "\x00"); return s }))},
	{"EncodesWithoutEscapingTheEscape", []string{"UnsubscribeHostileNames"}, "missed", false, mapping(onNames(func(s string) string { return strings.ReplaceAll(s, "*", "=2A") }))},
	{"MixesNamespaceAndRoom", []string{"UnsubscribeHostileNames"}, "missed", false, mapping(func(topic adapter.Topic) adapter.Topic {
		if topic.Kind == adapter.Namespace {
			return adapter.Topic{Kind: adapter.Room, Namespace: topic.Namespace, Room: "lobby"}
		}
		return topic
	})},

	{"NodeDoesNotCoverPrivate", []string{"NodeCoversPrivate", "PrivateAlone"}, "missed", false, mapping(func(topic adapter.Topic) adapter.Topic {
		if topic.Kind == adapter.Private {
			topic.Kind = adapter.Room
		}
		return topic
	})},
	{"PrivateReachesItsNodeAlone", []string{"PrivateAlone"}, "missed", false, mapping(func(topic adapter.Topic) adapter.Topic {
		if topic.Kind == adapter.Private {
			return nodeTopic(topic.Node)
		}
		return topic
	})},
	{"LeavingPrivateLeavesNode", []string{"PrivateAlone"}, "after the room's was left", false, withLinks(func(l *link) {
		l.unsubscribe = func(ctx context.Context, topics ...adapter.Topic) error {
			for _, topic := range topics {
				if topic.Kind == adapter.Private {
					topics = append(slices.Clip(topics), nodeTopic(topic.Node))
				}
			}
			return l.Link.Unsubscribe(ctx, topics...)
		}
	})},
	{"IgnoresCaseOfNodes", []string{"ExactPrivate"}, "alone, got", false, mapping(func(topic adapter.Topic) adapter.Topic {
		topic.Node = strings.ToLower(topic.Node)
		return topic
	})},
}
