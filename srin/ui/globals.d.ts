/** Set by component.py for the modules: what gr.HTML gives to each component of the page. */
interface Window {
  srin: Record<
    string,
    {
      element: HTMLElement;
      props: Record<string, any>;
      trigger: (event: string, data?: object) => void;
      watch: (prop: string, act: () => void) => void;
    }
  >;
}

/** ES2023: browsers have it, but TypeScript 4.8 does not know it. */
interface Array<T> {
  findLast(matches: (one: T) => unknown): T | undefined;
}
