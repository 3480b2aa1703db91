package protocol

import "slices"

// engineRules are the cases against the echo of Engine.IO.
var engineRules = slices.Concat(handshakeRules, pollingRules, heartbeatRules, upgradeRules, websocketRules, brokenRules(), httpRules)

// socketRules are the cases against the application of Socket.IO.
var socketRules = slices.Concat(namespaceRules, eventRules)
