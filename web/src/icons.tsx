/** Icons, drawn on a grid of 24 with lines of 1.75. */

const PATHS = {
  add: "M12 5v14M5 12h14",
  back: "M15 5l-7 7 7 7",
  camera: "M3.5 7.5h4l2-3h5l2 3h4v12h-17zM12 10a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7z",
  check: "M5 12.5l4.5 4.5L19 7.5",
  close: "M6 6l12 12M18 6L6 18",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  dark: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
  down: "M6 9l6 6 6-6",
  edit: "M4 20l1-4L16.5 4.5l3 3L8 19zM14 7l3 3",
  failed: "M12 8v5m0 3v.01M12 3l9.5 17h-19z",
  folder: "M3 6.5h6l2 2.5h10v9.5H3z",
  forward: "M9 5l7 7-7 7",
  image: "M3.5 5h17v14h-17zM4 17l5-5.5 4 4 3-3 4.5 4.5M15.5 9.5v.01",
  leave: "M14 4H5v16h9M10 12h10m-4-4l4 4-4 4",
  light: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4",
  pause: "M8.5 5v14M15.5 5v14",
  play: "M7.5 5l11 7-11 7z",
  pulse: "M3 12.5h4l2.5-7 4.5 13 2.5-6H21",
  recipe: "M4 7h9M17 7h3M4 12h3M11 12h9M4 17h11M19 17h1M15 5v4M9 10v4M17 15v4",
  remove: "M4 6.5h16M9 6V4h6v2M6.5 6.5l1 13.5h9l1-13.5M10 10.5v6M14 10.5v6",
  retry: "M19.5 12a7.5 7.5 0 1 1-2.2-5.3L20 9.5M20 4.5v5h-5",
  save: "M12 4v11m-5-5l5 5 5-5M4 20h16",
  search: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.5 15.5L20.5 20.5",
  share: "M17 3.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5zM6.5 9.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5zM17 15.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5zM9 11l5.5-3.5M9 13l5.5 3.5",
  system: "M3.5 5h17v11h-17zM9 20h6M12 16v4",
  up: "M6 15l6-6 6 6",
  upload: "M12 16V5m-5 5l5-5 5 5M4 20h16",
}

export type IconName = keyof typeof PATHS

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class={`icon icon-${name}`} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  )
}

export function IconButton({ name, label, onClick, ...more }: { name: IconName; label: string; onClick: () => void; class?: string; disabled?: boolean }) {
  return (
    <button type="button" class={`icon-button ${more.class ?? ""}`} aria-label={label} title={label} disabled={more.disabled ?? false} onClick={onClick}>
      <Icon name={name} />
    </button>
  )
}
