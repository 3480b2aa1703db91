// Package config configures a program of this module by text: flags, the environment, and a file, the
// same way for every setting that an operator has.
//
//	chat -adapter nats://nats:4222 -limits.max-payload 512KiB
//	CHAT_ADAPTER=nats://nats:4222 CHAT_LIMITS_MAX_PAYLOAD=512KiB chat
//	chat -config chat.yaml
//
// where chat.yaml, in YAML or JSON, has
//
//	adapter: nats://nats:4222
//	limits:
//	  max-payload: 512KiB
//
// A flag counts before the environment, the environment before the file, and the file before what the
// program's code says. The flag -h lists all settings, and so does the guide
// examples/guides/configuration.md of this module.
//
// # The program's own settings
//
// [Program.Own] points to a struct. A field with the tag "key" is a setting, and a struct with it a
// group of them:
//
//	var own struct {
//		Greeting string        `key:"greeting" default:"hello" help:"what a newcomer is told"`
//		Secret   string        `key:"secret" secret:"true" required:"true" help:"signs tokens"`
//		Keep     time.Duration `key:"keep" default:"24h" min:"1m" help:"how long messages are kept"`
//		Store    struct {
//			Size config.Bytes `key:"size" default:"64MiB" help:"what is kept at the most"`
//		} `key:"store"`
//	}
//
// Fields may be strings, numbers, booleans, durations, [Bytes], types that are an
// [encoding.TextUnmarshaler], and lists of these. Further tags: choices:"a,b", max, common:"true"
// (in the first part of the help), file:"true" (the path of a file that must be there). A value that
// the field has before Load is the default. If the struct's pointer has a method Check() error, Load
// calls it in the end; it may return a [*KeyError] with Key, Problem and Want.
//
// # Secrets
//
// A secret has a second setting with "-file" behind its key, which names a file that has the secret
// and nothing else but a line's end: nats.password-file for nats.password. Secrets are never logged
// and are in no error and no help. Flags show in the list of processes.
//
// # The adapter
//
// The setting adapter is one text: "memory:", "nats://host:4222,host:4222", "tls://host:4222" or
// "embedded:". Its parameters are the settings below "nats." and "embedded.":
// "tls://host?cluster=chat&creds=/run/secrets/nats.creds" or
// "embedded:?listen=:6222&routes=nats://a:6222,nats://b:6222&secret-file=/run/secrets/cluster".
// Routes between embedded servers are not encrypted.
//
// # Reload
//
// See [Config.Reload]. [Config.Run] calls it on SIGHUP.
package config
