import { type PointerEvent, useEffect, useRef, useState } from "react";

export interface Series {
  name: string;
  /** 1 to 3, or "danger": which color. */
  tone: "1" | "2" | "3" | "danger";
  values: readonly (number | null)[];
}

export interface ChartProps {
  title: string;
  /** `bars` are stacked. */
  kind: "bars" | "lines";
  series: readonly Series[];
  /** The time of each column, in milliseconds since 1970. */
  times: readonly number[];
  format(value: number): string;
  /** The text while there is no data. */
  emptyText: string;
}

const HEIGHT = 168;
const LEFT = 52;
const BOTTOM = 22;
const TOP = 8;
/** Possible numbers of columns between two times on the axis. */
const STEPS = [1, 2, 4, 8, 12, 20];
/** Half the length of the line for a single value. */
const DOT = 2.5;

/** A time series chart. The legend shows the newest values, or those under the pointer. */
export function Chart({ title, kind, series, times, format, emptyText }: ChartProps) {
  const [frame, width] = useWidth();
  const [pointed, setPointed] = useState<number | null>(null);
  const scale = scaleOf(kind, series, width, times.length);
  const column = pointed ?? newest(series);
  const empty = series.every(({ values }) => values.every((value) => value === null));
  const point = (event: PointerEvent<SVGSVGElement>) => {
    const left = event.clientX - event.currentTarget.getBoundingClientRect().left;
    const index = Math.floor((left - LEFT) / scale.step);
    setPointed(index >= 0 && index < times.length ? index : null);
  };
  return (
    <figure className="chart" ref={frame}>
      <figcaption>
        <h3>{title}</h3>
        <Legend series={series} column={column} format={format} />
      </figcaption>
      {empty ? (
        <p className="chart-nothing muted">{emptyText}</p>
      ) : (
        <svg
          role="img"
          aria-label={summary(title, series, format)}
          width={width}
          height={HEIGHT}
          onPointerMove={point}
          onPointerLeave={() => setPointed(null)}
        >
          <Axis scale={scale} format={format} width={width} times={times} />
          {pointed !== null && (
            <rect
              className="chart-pointed"
              x={scale.x(pointed)}
              y={TOP}
              width={scale.step}
              height={HEIGHT - BOTTOM - TOP}
            />
          )}
          {kind === "bars" ? (
            <Bars series={series} scale={scale} />
          ) : (
            <Lines series={series} scale={scale} />
          )}
        </svg>
      )}
    </figure>
  );
}

interface Scale {
  top: number;
  step: number;
  x(column: number): number;
  y(value: number): number;
}

function scaleOf(
  kind: ChartProps["kind"],
  series: readonly Series[],
  width: number,
  columns: number,
): Scale {
  const heights = Array.from({ length: columns }, (_, column) => {
    const values = series.map(({ values }) => values[column] ?? 0);
    return kind === "bars" ? values.reduce((sum, value) => sum + value, 0) : Math.max(...values);
  });
  const top = roundUp(Math.max(...heights));
  const step = Math.max(1, (width - LEFT) / columns);
  return {
    top,
    step,
    x: (column) => LEFT + column * step,
    y: (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - BOTTOM - TOP),
  };
}

/** Round up to 1, 2, 4, 5, 8, 10, 20, …, whose half is a good axis label. */
function roundUp(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const steps = [1, 2, 4, 5, 8, 10];
  return (steps.find((step) => step * power >= value) ?? 10) * power;
}

function newest(series: readonly Series[]): number {
  return Math.max(...series.map(({ values }) => values.findLastIndex((value) => value !== null)));
}

function summary(title: string, series: readonly Series[], format: ChartProps["format"]): string {
  const column = newest(series);
  const parts = series.map(({ name, values }) => {
    const value = values[column];
    return `${name} ${value == null ? "unknown" : format(value)}`;
  });
  return `${title}, newest: ${parts.join(", ")}`;
}

interface LegendProps {
  series: readonly Series[];
  column: number;
  format: ChartProps["format"];
}

function Legend({ series, column, format }: LegendProps) {
  return (
    <ul className="legend">
      {series.map(({ name, tone, values }) => {
        const value = values[column];
        return (
          <li key={name} data-tone={tone}>
            {name} <strong>{value == null ? "–" : format(value)}</strong>
          </li>
        );
      })}
    </ul>
  );
}

interface AxisProps {
  scale: Scale;
  format: ChartProps["format"];
  width: number;
  times: readonly number[];
}

function Axis({ scale, format, width, times }: AxisProps) {
  const formatTime = (time: number) =>
    new Date(time).toLocaleTimeString(undefined, { timeStyle: "short" });
  const apart = times.length / Math.max(2, Math.floor(width / 96));
  const every = STEPS.find((step) => step >= apart) ?? times.length;
  return (
    <g className="chart-axis">
      {[0, scale.top / 2, scale.top].map((value) => (
        <g key={value}>
          <line x1={LEFT} x2={width} y1={scale.y(value)} y2={scale.y(value)} />
          <text x={LEFT - 8} y={scale.y(value) + 4} textAnchor="end">
            {format(value)}
          </text>
        </g>
      ))}
      {times.map(
        (time, column) =>
          column % every === 0 && (
            <text key={time} x={scale.x(column)} y={HEIGHT - 4}>
              {formatTime(time)}
            </text>
          ),
      )}
    </g>
  );
}

interface MarksProps {
  series: readonly Series[];
  scale: Scale;
}

function Bars({ series, scale }: MarksProps) {
  const columns = series[0]?.values.length ?? 0;
  const width = Math.max(1, Math.min(scale.step - 2, 18));
  return Array.from({ length: columns }, (_, column) => {
    let below = 0;
    return series.map(({ name, tone, values }) => {
      const value = values[column] ?? 0;
      const y = scale.y(below + value);
      const height = scale.y(below) - y;
      below += value;
      const x = scale.x(column) + (scale.step - width) / 2;
      const key = `${name} ${column}`;
      return (
        height > 0 && (
          <rect key={key} className="bar" data-tone={tone} {...{ x, y, width, height }} rx={2} />
        )
      );
    });
  });
}

function Lines({ series, scale }: MarksProps) {
  return series.map(({ name, tone, values }) => {
    const hasValue = (column: number) => values[column] != null;
    const segments = values.map((value, column) => {
      if (value === null) return "";
      const x = scale.x(column) + scale.step / 2;
      const isFirst = !hasValue(column - 1);
      const isAlone = isFirst && !hasValue(column + 1);
      const y = scale.y(value);
      return isAlone ? `M${x - DOT} ${y}h${2 * DOT}` : `${isFirst ? "M" : "L"}${x} ${y}`;
    });
    return <path key={name} className="line" data-tone={tone} d={segments.join("")} />;
  });
}

function useWidth() {
  const frame = useRef<HTMLElement>(null);
  const [width, setWidth] = useState(320);
  useEffect(() => {
    const element = frame.current;
    if (!element) return;
    const observer = new ResizeObserver(([entry]) => {
      if (entry) setWidth(Math.max(120, Math.floor(entry.contentRect.width)));
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [frame, width] as const;
}
