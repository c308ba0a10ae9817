import { componentOf } from "../page/shared.js";

export const { element, props, trigger, watch, find, findAll, ready } = componentOf("gallery");
