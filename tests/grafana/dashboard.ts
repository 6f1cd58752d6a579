// What a file of deploy/grafana/dashboards must be: Grafana's types; the charts' options and queries, which those leave
// open, are those of the panel "timeseries" and of the data source Prometheus.
import type { Dashboard as Any, DataQuery, Panel } from "@grafana/schema";
import type {
  FieldConfig,
  Options,
} from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen.js";

// A value as JSON has it: members of an enumeration are their strings.
type Json<T> = T extends string ? `${T}` : T extends object ? { [K in keyof T]: Json<T[K]> } : T;

type Chart = Omit<Panel<Options, Json<FieldConfig>>, "options" | "targets"> & {
  type: "timeseries";
  options: Json<Options>;
  targets: (Json<DataQuery> & { expr: string; legendFormat: string })[];
};

export type Dashboard = Omit<Any, "panels"> & { panels: Chart[] };
