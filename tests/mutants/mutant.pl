# tests/mutants/mutant.pl check|apply TREE MUTANT -- does the mutant fit the tree?  Put it in.
#
# Prints the mutant's file and its tests, a line each.  Exit code: 0, or 1 with the reason on stderr.
use strict;
use warnings;

my ($what, $tree, $mutant) = @ARGV;
my (%said, %text, $part);

sub refuse { print STDERR "$mutant: @_\n"; exit 1; }

sub slurp {
    my ($path) = @_;
    open(my $in, '<', $path) or refuse("$path cannot be read: $!");
    local $/;
    return scalar <$in>;
}

for my $line (split /^/, slurp($mutant)) {
    if ($line =~ /^--- (old|new|end)$/) { $part = $1; $text{$part} = ''; }
    elsif (defined $part) { $text{$part} .= $line; }
    elsif ($line =~ /^(file|tests|breaks): (.+)$/) { $said{$1} = $2; }
}
for my $word (qw(file tests breaks)) { refuse("no line \"$word:\"") unless defined $said{$word}; }
refuse('wants the lines "--- old", "--- new" and "--- end"') unless 3 == grep { exists $text{$_} } qw(old new end);
refuse('text behind "--- end"') if $text{end} ne '';
refuse('the old text is empty') if $text{old} eq '';

my $source = slurp("$tree/$said{file}");
my $count = () = $source =~ /^\Q$text{old}\E/mg;
refuse("the old text is $count times in $said{file}, and not once: refit it") if $count != 1;
refuse('a mutant that changes nothing') if $text{old} eq $text{new} && $mutant !~ /canary/;
for my $test (split ' ', $said{tests}) {
    refuse("there is no test $test") unless -f "$tree/$test.c";
}
if ($what eq 'apply') {
    $source =~ s/^\Q$text{old}\E/$text{new}/m;
    open(my $out, '>', "$tree/$said{file}") or refuse("$said{file} cannot be written: $!");
    print $out $source;
    close($out) or refuse("$said{file} cannot be written: $!");
}
print "$said{file}\n$said{tests}\n";
