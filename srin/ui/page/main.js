// The studio's page: its components, in the order in which they start.

import "../stage/main.js";
import "../gallery/main.js";
import "../compare/main.js";
