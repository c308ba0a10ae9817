/** What component.py leaves for the modules: each component of the page, as gr.HTML knows it. */
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

/** Of ES2023: browsers have it, TypeScript 4.8 does not know it. */
interface Array<T> {
  findLast(matches: (one: T) => unknown): T | undefined;
}
