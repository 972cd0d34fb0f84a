mod odd_nodes;
